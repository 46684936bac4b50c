# Pretrained weights, and what frozen networks make of the images.

from imagepipe.config.recipe import FrozenFeatures
from imagepipe.config.recipe_checks import check_weights_file
from imagepipe.config.runs import short_hash
from imagepipe.config.weights import weights_request

WEIGHTS_REQUEST = weights_request(RECIPE.model)
HAS_FROZEN_FEATURES = isinstance(RECIPE.model, FrozenFeatures)
# Inputs of the stages that need them: empty without pretrained weights.
PRETRAINED = {}
# The inputs of models on frozen features: those of the labelled images, and of the test images.
LABELLED_EMBEDDINGS = {}
TEST_EMBEDDINGS = {}

# A job on another machine needs only what rule `weights` made of it.
if workflow.is_main_process:
    try:
        check_weights_file(RECIPE.model)
    except UserError as error:
        sys.exit(f"error: {error}")

if WEIGHTS_REQUEST:
    WEIGHTS = f"data/weights/{WEIGHTS_REQUEST.name}"

    rule weights:
        input:
            # The user's own file is on this machine, even if the workflow's are in object storage.
            [local(str(path)) for path in WEIGHTS_REQUEST.files if path.is_file()],
        output:
            weights=f"{WEIGHTS}.safetensors",
            record=f"{WEIGHTS}.json",
        log:
            f"logs/weights/{WEIGHTS_REQUEST.name}.log",
        # Before anything that takes long, and where there is a network.
        priority: 3
        localrule: True
        conda:
            "../../envs/train.yaml"
        params:
            options=options(request=WEIGHTS_REQUEST),
            code=code("weights.py"),
        message:
            "Get the pretrained weights"
        script:
            "../scripts/weights.py"

    PRETRAINED = {
        "weights": rules.weights.output.weights,
        "record": rules.weights.output.record,
    }


if HAS_FROZEN_FEATURES:
    EMBED_OPTIONS = {
        "network": RECIPE.model.on,
        **select(RECIPE, "image_size"),
        **select(RECIPE, *ARITHMETIC),
    }
    # Other heads on the same network, images and size read the same files.
    EMBED_HASH = short_hash(canonical_json(EMBED_OPTIONS))
    EMBEDDINGS = f"{DATA}/embeddings/{WEIGHTS_REQUEST.name}-{FORM.name}-{EMBED_HASH}"

    rule embed:
        input:
            **PRETRAINED,
            labelled=rules.pack.output.labelled,
            test=rules.pack.output.test,
        output:
            labelled=f"{EMBEDDINGS}/labelled.npy",
            test=f"{EMBEDDINGS}/test.npy",
        log:
            f"{LOGS}/embed.log",
        benchmark:
            f"{LOGS}/embed.benchmark.tsv"
        priority: 1
        conda:
            "../../envs/train.yaml"
        threads: THREADS
        resources:
            **TRAINING_RESOURCES,
            gpu=GPU,
            nodes=1,
        params:
            options=options(batch_size=config["prediction_batch_size"], **EMBED_OPTIONS),
            code=code("embed.py"),
        message:
            "Compute the features of all images"
        script:
            "../scripts/embed.py"

    LABELLED_EMBEDDINGS = {"embeddings": rules.embed.output.labelled}
    TEST_EMBEDDINGS = {"embeddings": rules.embed.output.test}
