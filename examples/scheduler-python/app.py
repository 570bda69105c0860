"""A job that schedules the others: it reads a list of jobs from a file that it is granted, and puts,
updates and removes its jobs until they are what the list says. The same as scheduler-rust, for files."""

import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import log, schedule
from wit_world.imports.types import Failure, Output_Json, Retry_ByPolicy, Retry_Never


class WitWorld(wit_world.WitWorld):
    def run(self, context):
        try:
            params = json.loads(context.params)
            path, prefix = params["list"], params["prefix"]
        except (ValueError, TypeError, KeyError) as error:
            like = '{"list": "/lists/jobs.json", "prefix": "sync/"}'
            message = f"cannot use the params {context.params}: {error!r}; they look like {like}"
            # The same params will be as wrong the next time.
            raise Err(Failure(message, Retry_Never()))
        try:
            wanted = jobs_of(open(path, encoding="utf-8").read(), prefix)
        except (OSError, ValueError) as error:
            # A list that cannot be read says nothing: all stays as it is.
            raise Err(Failure(f"{path}: {error}", Retry_ByPolicy()))
        done = follow(wanted)
        report = json.dumps(done)
        if done["refused"]:
            # The others are done all the same; which and why is in the log.
            message = f"{len(done['refused'])} of the jobs on the list were refused: {report}"
            raise Err(Failure(message, Retry_ByPolicy()))
        return Output_Json(report)


def jobs_of(text, prefix):
    """The definitions on a list, by their ids with the prefix."""
    jobs = {}
    entries = json.loads(text)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("this is no list of jobs")
    for job in entries:
        if not isinstance(job.get("id"), (str, int)):
            raise ValueError(f"a job has no `id`: {json.dumps(job)}")
        id = f"{prefix}{job.pop('id')}"
        if id in jobs:
            raise ValueError(f"the id {id} is there twice")
        jobs[id] = json.dumps(job)
    return jobs


def follow(wanted):
    """Makes the jobs of this one what the list says."""
    done = {"added": [], "updated": [], "removed": [], "unchanged": [], "refused": []}
    try:
        there = [entry.id for entry in schedule.jobs()]
    except Err as error:
        raise Err(Failure(why(error), Retry_ByPolicy()))

    def each(id, change):
        try:
            done[change()].append(id)
        except Err as error:
            log.log(log.Level.ERROR, why(error), [("job", id)])
            done["refused"].append(id)

    # First what is to go, so that there is room for what is to come.
    for id in there:
        if id not in wanted:
            each(id, lambda: schedule.remove(id) or "removed")
    for id, definition in wanted.items():
        each(id, lambda: schedule.put(id, definition).name.lower())
    return done


def why(error):
    return error.value.value
