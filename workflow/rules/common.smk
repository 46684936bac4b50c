# Shared by all rules: the checked configuration, and the params that trigger reruns.

import re

# Only modules that import neither torch nor pandas: every call and every cluster job reads this
# file.
from imagepipe.config.configuration import canonical_json, load_configuration
from imagepipe.config.openmp import wait_briefly
from imagepipe.config.runs import NOT_OF_A_RUN
from imagepipe.config.source_hash import code_hash
from imagepipe.errors import UserError

try:
    CONFIGURATION = load_configuration(config, ROOT / "workflow")
except UserError as error:
    sys.exit(f"error: {error}")

# Scripts read options without effect on results, such as `device`, from here.
config.update(CONFIGURATION.settings.model_dump())

# All jobs inherit this from the environment.
wait_briefly()

DATASET = CONFIGURATION.dataset
RECIPE = CONFIGURATION.recipe
RUN = CONFIGURATION.run_name
MEMBERS = config["members"] or RECIPE.members
SEEDS = [config["seed"] + member for member in range(MEMBERS)]

DATA = f"data/{CONFIGURATION.dataset_name}"
RESULTS = f"results/{CONFIGURATION.dataset_name}"
LOGS = f"logs/{CONFIGURATION.dataset_name}"
# The `prefix` of a module. Snakemake adds it to inputs, outputs and logs; other paths need it here.
PREFIX = workflow.modifier.path_modifier.replace_prefix("")
# The origin of the submission at the top.
PUBLISHED = {"dataset": CONFIGURATION.dataset_name, "run": RUN, "seeds": SEEDS}
# Folders of one run and seed. `expand` gets these patterns instead of rule outputs, which Snakemake
# refuses there with object storage.
VALIDATED = f"{RESULTS}/{{run}}/seed{{seed}}/train"
FINAL = f"{RESULTS}/{{run}}/seed{{seed}}/final"
FIGURES = f"{RESULTS}/{{run}}/figures"

# Defaults that a profile or the command line can change (--set-threads, --set-resources). On this
# machine, a job takes every core: Snakemake reduces 1024 to --cores. A cluster would be asked for
# all 1024.
IS_LOCAL = workflow.local_exec and not workflow.remote_exec
THREADS = 1024 if IS_LOCAL else 8
# `runtime` is in minutes, and meant for some 300,000 large photos.
DATA_RESOURCES = {"mem_mb": 4000, "runtime": 120}
TRAINING_RESOURCES = {"mem_mb": 8000, "runtime": 240}
FIGURE_RESOURCES = {"mem_mb": 4000, "runtime": 30}
GPU = 0 if config["device"] == "cpu" else 1

# The recipe keys that prediction reads; the rest comes with the model.
ARITHMETIC = ("precision", "tf32", "deterministic")


wildcard_constraints:
    run=re.escape(RUN),
    seed="[0-9]+",


def options(**concerned):
    """Return the options that concern a rule, as one param.

    Snakemake compares params as a set of values, without their names: it would not notice two
    params that swap their values.
    """
    return canonical_json(concerned)


def select(section, *keys):
    """Return some options of a section."""
    return section.model_dump(include=set(keys))


def figure(name, category, title, folder=FIGURES):
    """Return a figure's SVG file, which `snakemake --report` shows, and its PNG file, as outputs."""
    labels = {"figure": title} | ({"run": "{run}"} if "{run}" in folder else {})
    caption = f"../scripts/imagepipe/evaluation/captions.{name}.rst"
    svg = report(
        f"{folder}/{name}.svg", category=category, caption=caption, labels=labels
    )
    return {name: svg, f"{name}_png": f"{folder}/{name}.png"}


def code(script):
    """Return a hash of a script and the library modules that it imports, as a param."""
    return code_hash(SCRIPTS / script, SCRIPTS / "imagepipe")


def training_resources(rule):
    """Return the resources of a training. `gpu` counts all nodes; each GPU gets a process."""
    # The name of the rule if this workflow is a module.
    name = workflow.modifier.modify_rulename(rule)
    asked = workflow.resource_settings.overwrite_resources.get(name, {})
    nodes = asked["nodes"] if "nodes" in asked else 1
    nodes = int(getattr(nodes, "value", nodes))
    resources = {**TRAINING_RESOURCES, "gpu": GPU * nodes, "nodes": nodes}
    if nodes > 1:
        # For Snakemake's Slurm executor: one task per node, whatever its number of GPUs. As in MPI
        # jobs, the script itself starts the tasks by srun.
        resources |= {"mpi": "srun", "tasks": nodes, "tasks_per_gpu": 0}
    return resources


def stages_before(rule):
    """Return the names of a rule and of all before it, each with those whose outputs it reads."""
    found = {}
    waiting = [rule]
    while waiting:
        reader = waiting.pop()
        if reader.name in found:
            continue
        files = [
            str(file).replace("{run}", RUN).replace("{seed}", str(config["seed"]))
            for file in reader.input
            if not callable(file)
        ]
        writers = [
            other
            for other in workflow.rules
            if any(other.is_producer(file) for file in files)
        ]
        found[reader.name] = sorted(writer.name for writer in writers)
        waiting += writers
    return found
