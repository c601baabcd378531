"""Prefect: the chain of stages, where they run, and the command line. Loads nothing until it is asked for."""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.retrain import retrain as retrain


class _Flows(ModuleType):
    """The package, whose `retrain` is the flow although a module of that name lies in it.

    The property answers `from flows import retrain` without loading Prefect for the rest of the package, and keeps
    the import system from binding the module in the flow's place.
    """

    @property
    def retrain(self) -> Any:
        from flows.retrain import retrain as flow

        return flow

    @retrain.setter
    def retrain(self, module: ModuleType) -> None:
        """Stand aside when the import system binds the module."""


sys.modules[__name__].__class__ = _Flows
