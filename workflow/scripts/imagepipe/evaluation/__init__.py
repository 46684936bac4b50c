"""How good a run is: its results on the validation images, its figures, its report.

- The numbers, as files: `evaluation_file` has their types and writes them; `validation_results`
  (of `class_results`, `calibration`, `intervals`, `bootstrap`, `shown_predictions`) and
  `test_predictions` compute them. Also `saliency` and `augmentation_examples`, which only become
  figures.
- The figures: `*_figure`, `*_figures`, `learning_curves`, `comparison`, `prediction_pictures`, with
  `picture_grid`, `ranking` and `graph_layout`; their names and captions are in `captions`.
- The report and the model card: `report_inputs` and `provenance` read, `answer` and `findings` say
  what it means, in `sentences`, and `report` and `model_card` write it.
"""
