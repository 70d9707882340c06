"""Who answers: model names, endpoints, and the servers this package starts itself."""
