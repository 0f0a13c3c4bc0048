"""Fine-tuning from one YAML file: configs, objectives, the loop, checkpoints, evaluation, reports."""
