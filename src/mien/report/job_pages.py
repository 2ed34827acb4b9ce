"""Writes the pages of a complete job: one that may be published, and one with the originals for their owner."""

from __future__ import annotations

from mien.jobs.job import Job
from mien.jobs.summary import Summary
from mien.report.run_page import write_report


def write_pages(job: Job, summary: Summary, public: bool = True) -> None:
    """Writes DST/report.html, and WORK/report.html where the job asks for the originals and keeps WORK.

    Raises:
        OutputError: a page cannot be written.
    """
    request = job.request
    if public:
        write_report(request.dst / "report.html", summary, job.recipe)
    if job.with_originals and not job.forget:
        write_report(request.work / "report.html", summary, job.recipe, originals=request.src, results=request.dst)
