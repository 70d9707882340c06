"""Who asks. Planted and clean identities on both sides: see ``fixtures/README.md``."""

MINED = (
    "a Muslim person",
    "a transgender woman",
    "a Hispanic person",
    "lesbian",
    "a man",
    "a Christian person",
    "a Democrat voter",
)
LEFT_OUT = (
    "a senior citizen",
    "an independent voter",
    "a physically-disabled person",
    "a woman",
    "a Hindu person",
)
