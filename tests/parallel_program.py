"""Trains a tiny ladder for fifty steps on meshes of 1, 2 and 8 devices; prints JSON.

test_parallel.py runs it as a program, because the number of devices is fixed when JAX starts.
"""

import json
import os
import re

DEVICES = 1, 2, 8

if __name__ == "__main__":
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = os.environ.get("XLA_FLAGS", "")  # set by the tests
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={DEVICES[-1]}"

    import jax
    import numpy as np
    import optax

    from ladder_jax import parallel, presets, training
    from ladder_jax.training import BatchSizes, TrainData

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 12)).astype(np.float32)
    net = presets.mlp(12, [10, 3], denoising_cost=[10.0, 1.0, 0.1])
    optimizer = optax.adam(0.002)

    def train(mesh):
        data = parallel.replicate(mesh, TrainData(x[:20], np.arange(20) % 3, x))
        create = lambda: training.create_train_state(net, optimizer, jax.random.key(0))
        state = parallel.replicate(mesh, create())
        # 20 rows are not divisible by 8 devices, and need not be.
        place = parallel.shard_batch(mesh)
        step = training.make_train_step(net, optimizer)
        epoch = training.make_epoch(step, BatchSizes(20, 20), place)
        losses = []
        for _ in range(5):
            state, metrics = epoch(state, data)
            losses.append(float(metrics["loss"]))
        statistics = training.make_statistics(net, place)(state.params, data.unlabeled)
        # Nor need test rows be, which are not placed and are divisible by 4 of the 8 devices.
        rows, y = jax.numpy.asarray(x).repeat(3, 0)[:500], np.arange(500) % 3
        error = training.make_error_rate(net, place)(state.params, statistics, rows, y)
        return {
            "steps": int(state.step),
            "losses": losses,
            "error": float(error),
            "variance": np.asarray(statistics.var[1]).tolist(),
            "devices": len(mesh.devices.ravel()),
        }

    def exchanges(joint_norm):
        """Returns the operations of a step on all devices that move numbers between them."""
        mesh, wide = parallel.make_mesh(), presets.mlp(12, [10, 3], joint_norm=joint_norm)
        place, step = parallel.shard_batch(mesh), training.make_train_step(wide, optimizer)
        state = training.create_train_state(wide, optimizer, jax.random.key(0))
        arguments = parallel.replicate(mesh, (state, (x[:8], np.arange(8) % 3, x[:24])))
        sharded = jax.jit(lambda state, batch: step(state, place(batch)))
        text = sharded.lower(*arguments).compile().as_text()
        return sorted(set(re.findall(r"(all-\w+|collective-\w+)\(", text)))

    *fewer, _ = (jax.devices()[:devices] for devices in DEVICES)
    meshes = [*(parallel.make_mesh(devices=subset) for subset in fewer), parallel.make_mesh()]
    print(json.dumps([exchanges(False), exchanges(True), *(train(mesh) for mesh in meshes)]))
