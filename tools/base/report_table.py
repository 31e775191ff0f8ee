"""The report's figures beside the project's floors and aims, as a table in Markdown."""

from __future__ import annotations


def percent(found: dict) -> str:
    """`97 % (94 to 99)` for a share with its interval."""
    value, low, high = (100 * found[key] for key in ("value", "low", "high"))
    return f"{value:.0f} % ({low:.0f} to {high:.0f}, of {found['of']})"


def rows(result: dict) -> list[tuple[str, str, str, str]]:
    """Figure, value, floor and aim."""
    psnr, colour, traits = result["psnr"], result["without_colour"], result["traits"]
    out = [
        *(
            (f"autoencoder, PSNR at {result['image_size']} px, unseen {kind}", f"{psnr[kind]:.1f} dB", floor, aim)
            for kind, floor, aim in (("photos", "29.3", "30"), ("art", "27.7", "28.5"), ("media", "24", "25"))
        ),
        *(
            (f"identity margin of unseen photos that the autoencoder keeps, {name}", percent(found), "", "")
            for name, found in result["person_kept"].items()
        ),
        ("a face is found, photos", percent(result["face_photos"]), "98 %", "100 %"),
        ("a face is found, all but stained glass", percent(result["face_all_but_stained_glass"]), "92 %", "97 %"),
        ("a face is found, *a painting of a man / woman*", percent(result["face_plain_painting"]), "85 %", "95 %"),
        ("sex as captioned", percent(result["sex"]), "92 %", "97 %"),
        ("medium as captioned, of fourteen", percent(result["medium"]), "80 %", "92 %"),
        *(
            (f"without colour, *{text}*", percent(colour[text]), "5 %", "1 %")
            for text in ("a photo of a man", "a photo of an old man", "a photo of a woman")
        ),
        *((f"{name} where asked for", percent(traits[name]["asked"]), "70 %", "90 %") for name in ("glasses", "smile")),
        *(
            (f"{other} where {what}", percent(traits[name]["not_asked_and_without"]), "", "")
            for name, other, what in (
                ("glasses", "no glasses", "not asked for"),
                ("smile", "no smile", "*serious* is asked for"),
            )
        ),
    ]
    for encoder, kinds in result["copies"].items():
        for kind, found in kinds.items():
            low, high = found["others_95%"]
            value = f"{found['samples_99']:.3f} ({found['samples_95%'][0]:.3f} to {found['samples_95%'][1]:.3f})"
            other = f"{found['others_99']:.3f} ({low:.3f} to {high:.3f})"
            out.append(
                (
                    f"99th percentile of the cosine to the nearest training sitter, {kind}, {encoder}",
                    value,
                    f"others: {other}",
                    "",
                )
            )
    return [
        *out,
        ("all weights", f"{result['weights_mb']:.1f} MB", "56", "45"),
        (f"one picture, {result['threads']} threads", f"{result['seconds_per_picture']:.1f} s", "9 s", "6 s"),
        ("loads in", f"{result['load_seconds']:.1f} s", "1 s", ""),
    ]


def table(result: dict) -> str:
    lines = ["| figure | value (95 %) | floor | aim |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows(result))])
