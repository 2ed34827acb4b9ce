"""Options that several commands have, said once."""

from __future__ import annotations

from typing import Annotated

import typer

Recipe = Annotated[str, typer.Option(
    "--recipe", help="default, fast, falco, falco-mobile, falco-reference, or a TOML file.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="A field of the recipe, as in pair.distance=cosine; may be repeated.")]
Models = Annotated[str | None, typer.Option("--models", help="mobile, or falco: the imported checkpoints.")]
PoolSize = Annotated[int | None, typer.Option("--pool-size", help="Generated faces to choose from.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
Layout = Annotated[str, typer.Option(help="auto, folder, celebahq, celeba, lfw, imagefolder, webdataset, huggingface.")]
Subset = Annotated[str | None, typer.Option(help="Splits of a dataset, as in train+val.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but results and errors.")]
