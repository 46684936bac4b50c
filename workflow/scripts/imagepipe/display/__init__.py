"""How results look: colors, the style of figures, the frame of HTML pages."""
