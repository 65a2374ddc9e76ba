"""Numbers that judge samples; this family knows no model."""
