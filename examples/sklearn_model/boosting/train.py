"""Gradient boosting on scikit-learn's bundled breast-cancer data: no torch, no epochs, one mapping of figures."""

from typing import Any

from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split


def train(
    context: Any, trees: int = 60, depth: int = 3, learning_rate: float = 0.1, subsample: float = 1.0
) -> dict[str, float]:
    """Fit once and return validation and test figures; the seed draws the split and the subsamples."""
    x, y = load_breast_cancer(return_X_y=True)
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=0.25, random_state=context.seed, stratify=y)
    x_train, x_val, y_train, y_val = train_test_split(
        x_rest, y_rest, test_size=0.25, random_state=context.seed, stratify=y_rest
    )
    model = GradientBoostingClassifier(
        n_estimators=trees,
        max_depth=depth,
        learning_rate=learning_rate,
        subsample=subsample,
        random_state=context.seed,
    ).fit(x_train, y_train)
    figures = {"train_log_loss": log_loss(y_train, model.predict_proba(x_train))}
    for name, inputs, labels in (("val", x_val, y_val), ("test", x_test, y_test)):
        figures[f"{name}_log_loss"] = log_loss(labels, model.predict_proba(inputs))
        figures[f"{name}_accuracy"] = accuracy_score(labels, model.predict(inputs))
    return figures
