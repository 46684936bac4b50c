"""A look at a folder or a bundle of images, and the dataset file that describes it.

How the guesses are made:

- Images are told apart by the names of the folders and archives around them, such as train_images
  and test1.zip. Where these do not say it, tables do: one lists the labelled images, and the sample
  submission, or another table, the rest.
- The ids of a table are in the column whose values are the images' names. The sample submission is
  known by its name, or as the table of the test images whose rows are all the same.
- The labels are in the column that the sample submission names, or whose values are its columns or
  its values; else in one with a name such as "label", with few different values that are no
  measurements. So columns that tell the label in other words are left alone. Folders and file names
  are next.
- Groups are in a column with a name such as "patient" whose values repeat.
- The form of the submission is that which the stage `form` reads from the sample.

What the files do not say, above all the metric, gets a line with CHOOSE above the best guess.
"""
