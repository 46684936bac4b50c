"""The form of the submission, by its sample, and the metric that goes with it."""

from collections.abc import Sequence

from imagepipe.config.dataset import SampleForm
from imagepipe.dataset.forms import choose_form, choose_metric, positive_class
from imagepipe.dataset.submission_form import SubmissionForm
from imagepipe.dataset.test_images import Sample
from imagepipe.errors import UserError
from imagepipe.inspection.evidence import Guess
from imagepipe.inspection.label_sources import FoundLabels
from imagepipe.inspection.tables import Table
