"""Procedural chest CT with lung tumors: calibrated stand-ins for patients, free of anybody's data.

fields       random fields and signed distances on a grid given in mm
anatomy      one chest: walls, bones, mediastinum, lungs
vessels      vascular and bronchial trees of the lungs
lesions      tumors, their reader-drawn references, and what looks like tumors
acquisition  blur and correlated noise of a scanner
cohort       what a cohort is (scanner, sizes, counts), patient by patient
writers      a patient as DICOM with RTSTRUCT, or as NIfTI in the layout of the Medical Segmentation Decathlon
store        a folder of patients: atomic, resumable, remade when the generator changes
calibration  the same measurements on phantoms and on real CT, and the gates
figures      pictures of the calibration
"""

from .fields import Grid

__all__ = ["Grid"]
