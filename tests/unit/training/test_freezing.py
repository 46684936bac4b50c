"""Parameters that the recipe freezes in the middle of the training."""

import torch

from training_builders import all_images, build, complete_recipe, train_one_epoch


def test_frozen_parameters_change_no_more_and_cost_no_gradients() -> None:
    freeze = [{"parameters": "whitening", "after": 0.5}, {"parameters": "groups.0", "after": 0.5}]
    model = {"name": "airbench", "widths": [4, 4, 4]}
    training = build(complete_recipe(model=model, epochs=2, freeze=freeze), all_images(16, 16))
    parameters = {name: p for name, p in training.model.named_parameters() if p.requires_grad}
    frozen = {name for name in parameters if name.startswith(("whitening", "groups.0"))}
    changed = []
    for _ in range(2):
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        train_one_epoch(training)
        changed.append({name for name, p in parameters.items() if not torch.equal(p, before[name])})
    assert changed == [set(parameters), set(parameters) - frozen]
    assert {name for name, p in parameters.items() if not p.requires_grad} == frozen
