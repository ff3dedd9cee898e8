"""Which config a word on the command line means."""

from pathlib import Path

from course_lib.training import config as configs


def read_config(config: str) -> configs.TrainConfig:
    """A file, or a preset by its name, as `xtuner train` takes it too.

    Args:
        config: a path or a preset's name.

    Raises:
        ConfigError: there is no such file, or it breaks rules.
    """
    if not Path(config).exists() and config in configs.preset_names():
        return configs.load_preset(config)
    return configs.load_config(config)
