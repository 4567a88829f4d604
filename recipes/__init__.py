"""How each part is trained and measured: one loop, one YAML per recipe."""
