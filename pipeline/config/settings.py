"""Define the base class of all settings."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Word = Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=60)]  # becomes a folder name


class Settings(BaseModel):
    """A frozen, strict model: unknown keys, wrong types and values out of range are errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
