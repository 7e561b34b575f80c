"""Stand-ins for the eight objects where no models are given, and clutter: distinct shapes and colours, made by code."""

from __future__ import annotations

from envs.lmo.models import CLASSES, Colour, Model, Part, assembled

WHITE, GREY, DARK = (215, 212, 205), (130, 132, 135), (35, 36, 40)
RED, BROWN, GREEN, MOSS = (176, 60, 52), (110, 74, 50), (28, 92, 66), (40, 64, 40)
YELLOW, ORANGE, BLUE, NAVY, CREAM = (228, 186, 28), (214, 112, 30), (52, 74, 150), (30, 38, 84), (205, 196, 170)

# Sizes are about those of the real objects, in metres, with z up.
PARTS: dict[str, tuple[Part, ...]] = {
    "ape": (
        Part("ball", (0.07, 0.066, 0.062), (0.0, 0.0, -0.016), RED),
        Part("ball", (0.05, 0.05, 0.046), (0.0, 0.008, 0.026), RED),
        Part("ball", (0.03, 0.03, 0.022), (0.0, 0.03, 0.02), (205, 120, 96)),
        Part("ball", (0.026, 0.05, 0.024), (-0.026, 0.02, -0.034), RED),
        Part("ball", (0.026, 0.05, 0.024), (0.026, 0.02, -0.034), RED),
    ),
    "can": (
        Part("tube", (0.1, 0.1, 0.12), (0.0, 0.0, -0.035), WHITE),
        Part("tube", (0.028, 0.028, 0.13), (0.0, 0.065, 0.005), WHITE, tilt=-32.0),
        Part("ball", (0.05, 0.05, 0.02), (0.0, 0.098, 0.055), WHITE, tilt=-40.0),
        Part("block", (0.018, 0.02, 0.1), (0.0, -0.062, 0.03), WHITE, tilt=12.0),
        Part("block", (0.018, 0.09, 0.018), (0.0, -0.03, 0.085), WHITE),
    ),
    "cat": (
        Part("block", (0.056, 0.1, 0.02), (0.0, 0.0, -0.049), BROWN),
        Part("ball", (0.062, 0.11, 0.07), (0.0, -0.008, -0.02), BROWN),
        Part("ball", (0.05, 0.046, 0.046), (0.0, 0.036, 0.02), BROWN),
        Part("cone", (0.018, 0.018, 0.03), (-0.015, 0.036, 0.05), BROWN),
        Part("cone", (0.018, 0.018, 0.03), (0.015, 0.036, 0.05), BROWN),
        Part("ball", (0.04, 0.026, 0.03), (0.0, 0.044, -0.014), CREAM),
        Part("tube", (0.014, 0.014, 0.07), (0.012, -0.05, 0.0), BROWN, tilt=20.0),
    ),
    "driller": (
        Part("block", (0.07, 0.11, 0.045), (0.0, 0.0, -0.08), DARK),
        Part("block", (0.04, 0.05, 0.11), (0.0, -0.012, -0.01), GREEN, tilt=8.0),
        Part("tube", (0.066, 0.066, 0.15), (0.0, 0.02, 0.068), GREEN, tilt=90.0),
        Part("tube", (0.046, 0.046, 0.05), (0.0, 0.112, 0.068), DARK, tilt=90.0),
        Part("ball", (0.066, 0.05, 0.066), (0.0, -0.055, 0.068), MOSS),
    ),
    "duck": (
        Part("ball", (0.072, 0.1, 0.056), (0.0, -0.004, -0.014), YELLOW),
        Part("ball", (0.05, 0.05, 0.05), (0.0, 0.026, 0.024), YELLOW),
        Part("ball", (0.03, 0.03, 0.012), (0.0, 0.054, 0.018), ORANGE),
        Part("cone", (0.04, 0.03, 0.036), (0.0, -0.05, 0.006), YELLOW, tilt=35.0),
    ),
    "eggbox": (
        Part("block", (0.148, 0.104, 0.03), (0.0, 0.0, -0.02), CREAM),
        *(
            Part("ball", (0.048, 0.048, 0.06), (x, y, 0.0), CREAM)
            for x in (-0.048, 0.0, 0.048)
            for y in (-0.026, 0.026)
        ),
    ),
    "glue": (
        Part("block", (0.036, 0.072, 0.11), (0.0, 0.0, -0.03), WHITE),
        Part("ball", (0.036, 0.072, 0.05), (0.0, 0.0, 0.025), WHITE),
        Part("block", (0.038, 0.05, 0.045), (0.0, 0.0, -0.035), (196, 44, 60)),
        Part("cone", (0.026, 0.026, 0.06), (0.0, 0.0, 0.06), (196, 44, 60)),
    ),
    "holepuncher": (
        Part("block", (0.096, 0.1, 0.018), (0.0, 0.0, -0.036), NAVY),
        Part("block", (0.088, 0.03, 0.06), (0.0, -0.024, 0.0), BLUE),
        Part("block", (0.088, 0.096, 0.016), (0.0, 0.006, 0.026), BLUE, tilt=14.0),
        Part("tube", (0.014, 0.014, 0.03), (-0.026, 0.022, -0.014), GREY),
        Part("tube", (0.014, 0.014, 0.03), (0.026, 0.022, -0.014), GREY),
    ),
}
CLUTTER_SHAPES: dict[str, tuple[Part, ...]] = {
    "book": (Part("block", (0.15, 0.21, 0.026), (0.0, 0.0, 0.0), WHITE),),
    "box": (Part("block", (0.1, 0.13, 0.14), (0.0, 0.0, 0.0), WHITE),),
    "cup": (Part("tube", (0.08, 0.08, 0.095), (0.0, 0.0, 0.0), WHITE),),
    "bottle": (
        Part("tube", (0.065, 0.065, 0.15), (0.0, 0.0, -0.03), WHITE),
        Part("cone", (0.065, 0.065, 0.09), (0.0, 0.0, 0.09), WHITE),
    ),
    "ball": (Part("ball", (0.075, 0.075, 0.075), (0.0, 0.0, 0.0), WHITE),),
    "brick": (Part("block", (0.06, 0.11, 0.045), (0.0, 0.0, 0.0), WHITE),),
}
# Some near to those of the objects, so that colour alone does not tell what is one.
CLUTTER_COLOURS: dict[str, Colour] = {
    **{"white": WHITE, "grey": GREY, "dark": DARK, "red": RED, "brown": BROWN, "green": GREEN},
    **{"yellow": YELLOW, "orange": ORANGE, "blue": BLUE, "pink": (214, 110, 150)},
}


def stand_ins() -> tuple[Model, ...]:
    """One for each of the classes, in their order."""
    return tuple(assembled(name, PARTS[name]) for name in CLASSES)


def clutter_models() -> tuple[Model, ...]:
    """The shapes of clutter, white."""
    return tuple(assembled(name, parts) for name, parts in CLUTTER_SHAPES.items())
