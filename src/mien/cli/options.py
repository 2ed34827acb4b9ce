"""Options that several commands share, each with its help text."""

from __future__ import annotations

from typing import Annotated

import typer

BY_RECIPE = "the recipe's"  # the default shown for options that replace a field of the recipe

Recipe = Annotated[str, typer.Option(
    "--recipe", metavar="NAME|FILE",
    help="Use this recipe: default, fast, falco, falco-mobile, falco-reference, or a TOML file.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE",
    help="Change a field of the recipe, as in pair.distance=cosine. May be given several times.")]
Models = Annotated[str | None, typer.Option(
    "--models", metavar="NAME", show_default=BY_RECIPE,
    help="Use these networks: mobile, which mien fetches, or falco, the paper's, which you import.")]
PoolSize = Annotated[int | None, typer.Option(
    "--pool-size", metavar="N", show_default=BY_RECIPE,
    help="Choose among a pool of this many generated faces, 64 or more.")]
Device = Annotated[str, typer.Option(
    "--device", metavar="DEVICE",
    help="Compute on this device: auto (a GPU if one works, else the CPU), cpu, cuda, or a numbered one as in cuda:1.")]
Layout = Annotated[str, typer.Option(
    "--layout", metavar="NAME",
    help="Read the dataset in this layout: auto (recognize it), folder, celebahq, celeba, lfw, imagefolder, webdataset "
    "or huggingface.")]
Subset = Annotated[str | None, typer.Option(
    "--subset", metavar="SPLITS", show_default="all of them",
    help="Use only these splits of the dataset, joined by +, as in train+val.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but results and errors.")]
