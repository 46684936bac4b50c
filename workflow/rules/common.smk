# What the rules share: the checked configuration, and the params that decide what reruns.

import re

# Only modules that import neither torch nor pandas: every call, and every job of a cluster, reads
# this file.
from imagepipe.config.configuration import canonical_json, load_configuration
from imagepipe.config.openmp import wait_briefly
from imagepipe.config.runs import NOT_OF_A_RUN
from imagepipe.config.source_hash import code_hash
from imagepipe.errors import UserError

try:
    CONFIGURATION = load_configuration(config, ROOT / "workflow")
except UserError as error:
    sys.exit(f"error: {error}")

# Scripts read the options on which no result depends, such as `device`, from here.
config.update(CONFIGURATION.settings.model_dump())

# All jobs take it from the environment.
wait_briefly()

DATASET = CONFIGURATION.dataset
RECIPE = CONFIGURATION.recipe
RUN = CONFIGURATION.run_name
MEMBERS = config["members"] or RECIPE.members
SEEDS = [config["seed"] + member for member in range(MEMBERS)]

DATA = f"data/{CONFIGURATION.dataset_name}"
RESULTS = f"results/{CONFIGURATION.dataset_name}"
LOGS = f"logs/{CONFIGURATION.dataset_name}"
# What a module's `prefix` puts before the paths of inputs, outputs and logs; others need it here.
PREFIX = workflow.modifier.path_modifier.replace_prefix("")
# What the submission at the top is made of.
PUBLISHED = {"dataset": CONFIGURATION.dataset_name, "run": RUN, "seeds": SEEDS}
# Of one run and seed. `expand` takes these patterns, and not the outputs of rules: Snakemake refuses
# that where they are kept in an object storage.
VALIDATED = f"{RESULTS}/{{run}}/seed{{seed}}/train"
FINAL = f"{RESULTS}/{{run}}/seed{{seed}}/final"

# What jobs ask for, unless a profile or the command line says otherwise (--set-threads,
# --set-resources). Here, they take every core: Snakemake scales down to --cores what is more than any
# machine has. A cluster would be asked for it.
IS_LOCAL = workflow.local_exec and not workflow.remote_exec
THREADS = 1024 if IS_LOCAL else 8
DATA_RESOURCES = {"mem_mb": 4000, "runtime": 10}
TRAINING_RESOURCES = {"mem_mb": 8000, "runtime": 240}
GPU = 0 if config["device"] == "cpu" else 1


wildcard_constraints:
    run=re.escape(RUN),
    seed="[0-9]+",


def options(**concerned):
    """The options that concern a rule, as one param.

    Snakemake compares params as a set of values, without their names. Two options that swap
    their values would go unseen if they were two params.
    """
    return canonical_json(concerned)


def select(section, *keys):
    """Those options of a section that concern a rule."""
    return section.model_dump(include=set(keys))


def code(script):
    """A hash of a script and of the library modules that it imports, as a param."""
    return code_hash(SCRIPTS / script, SCRIPTS / "imagepipe")
