"""How hard the tests that generate their cases try; set from pytest's options before a test module is imported."""

schemathesis_examples = 6
