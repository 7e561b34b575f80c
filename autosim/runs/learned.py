"""What a run has learned, read from its folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from autosim import registry
from autosim.errors import UserError
from autosim.registry import one_line
from autosim.runs.config import RunConfig
from autosim.runs.folder import RunFolder
from autosim.runs.opening import choose_device, open_environment, open_session

if TYPE_CHECKING:
    from autosim.scenes.generator import SceneGenerator


def learned_generator(config: RunConfig, folder: RunFolder) -> SceneGenerator:
    """The generator of the run's latest checkpoint. ``UserError`` where there is none that fits ``config``.

    The algorithm is set up as at the start of the run, which takes as long as it took then, and given its state.
    """
    state, _ = folder.read_checkpoint(config.iterations)
    if state is None:
        raise UserError(f"run folder {folder.path}: it holds no checkpoint: nothing had been learned")
    env = open_environment(config)
    with open_session(config, env, choose_device(config.settings.device)) as session:
        planned = replace(config.algo_config, iterations=config.iterations)
        algorithm = registry.find_algorithm(config.algo)(session, planned)
        try:
            algorithm.load_state_dict(state["algorithm"])
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"run folder {folder.path}: its checkpoint does not fit: {one_line(error)}") from error
        return algorithm.generator
