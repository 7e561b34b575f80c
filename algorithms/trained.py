"""What an earlier run of a method has learned, for another method to build on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from autosim.env import Env
from autosim.errors import UserError
from autosim.files import read_tensors
from autosim.scenes.policy import GrammarPolicy
from autosim.scenes.transformer import DistributionTransformer


def load_transformer(folder: str, env: Env) -> DistributionTransformer:
    """The transformer that a run of ``metasim`` ended with. ``UserError`` where the folder holds no such run, or one
    on scenes of another kind.
    """
    with _checkpoint(folder, "metasim", env) as (options, state):
        transformer = DistributionTransformer(
            env.prior(),
            std=float(options["std"]),
            learn_spread=bool(options["learn_spread"]),
            residual=bool(options["residual"]),
        )
        transformer.load_state_dict(state["transformer"])
        _check_finite(transformer)
    return transformer.requires_grad_(False)


def load_policy(folder: str, env: Env) -> GrammarPolicy:
    """The policy that a run of ``metasim2`` ended with; ``UserError`` as above."""
    with _checkpoint(folder, "metasim2", env) as (options, state):
        told = {name: bool(options[name]) for name in ("context", "lengths")}
        policy = GrammarPolicy(env.prior(), int(state["longest"]), **told)
        if options["parameters"]:
            policy.transformer = load_transformer(options["parameters"], env)
        policy.load_state_dict(state["policy"])
        _check_finite(policy)
    return policy.requires_grad_(False)


@contextmanager
def _checkpoint(folder: str, algo: str, env: Env) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Options and state of an algorithm; what goes wrong with them inside becomes a ``UserError``."""
    path = Path(folder) / "checkpoint.pt"
    try:
        if not path.exists():
            raise FileNotFoundError(path)
        stored = read_tensors(path)
        options = stored["config"]["algo"]
        if options["name"] != algo:
            raise ValueError(f"it is of {options['name']}")
        yield options, stored["algorithm"]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; a folder of a {algo} run is needed") from None
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is not of a {algo} run on {env.name!r}: {reason}") from error


def _check_finite(network: nn.Module) -> None:
    for name, values in network.state_dict().items():
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name} holds numbers that are not finite")
