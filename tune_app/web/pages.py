"""The pages."""

from fastapi import APIRouter, FastAPI

router = APIRouter()


def add_handlers(app: FastAPI) -> None:
    """Add handlers."""
