#!/bin/bash
# One share of a run for each task of a job array: RUNS=/shared/runs INPUT=/shared/photos sbatch docs/scale/slurm.sh
# Submitted from the repository, which all nodes see. A task that died: the same with --array=3, its number.
#SBATCH --job-name=editpairs
#SBATCH --array=0-7
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
#SBATCH --output=editpairs-%A_%a.log
set -euo pipefail
: "${RUNS:?names the folder of the shares}" "${INPUT:?names the photos}"
# As many as --array has. Not SLURM_ARRAY_TASK_COUNT, which is 1 where a single task is submitted again.
SHARES=8
share=$SLURM_ARRAY_TASK_ID
# exec, so that the signal before the time is over reaches the run, which then ends in an orderly way.
exec python driver/batch.py --workflow remove --input "$INPUT" --output "$RUNS/share$share" --shard "$share/$SHARES"
