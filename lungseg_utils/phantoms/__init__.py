"""Procedural chest CT with lung tumors, calibrated against published and measured properties, free of patient data.

fields       random fields and signed distances on a grid given in mm
anatomy      one chest: walls, bones, mediastinum, lungs
vessels      vascular and bronchial trees of the lungs
lesions      tumors, their reader-drawn references, and structures that look like tumors
acquisition  blur and correlated noise of a scanner
cohort       what a cohort is (scanner, sizes, counts), patient by patient
writers      a patient as DICOM with RTSTRUCT, or as NIfTI in the layout of the Medical Segmentation Decathlon
store        a folder of patients: atomic, resumable, drawn again when the generator changes
calibration  the same measurements on phantoms and on real CT, their accepted ranges, and figures
"""

from .fields import Grid

__all__ = ["Grid"]
