"""What mitigation does to the embedded model: before and after, on unseen items and identities."""
