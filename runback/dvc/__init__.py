"""Read what DVC keeps beside git: stages, data sets, experiments. DVC itself is not imported.

project: where it was set up. stages: dvc.yaml. datasets: PATH.dvc. texts: the YAML of both.
experiments: refs/exps. fetched: asks `dvc pull`.
"""
