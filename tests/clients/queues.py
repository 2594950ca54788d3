"""Runs RQ, Celery and dramatiq, with their own workers, against a server: plain, delayed, repeated,
prioritised, rate-limited and retried jobs, jobs that wait for others, and a worker that is killed in
the middle of a job. Prints OK, or the first thing that went wrong. `scripts/python-queues` starts it.

  python3 queues.py PORT
"""
import datetime, os, signal, subprocess, sys, time

import celery, dramatiq, redis, rq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

PORT = int(os.environ.get("QUEUES_PORT") or sys.argv[1])
URL = f"redis://127.0.0.1:{PORT}"
client = redis.Redis(port=PORT)


def note(name):
    """Records that a job has run, with the time."""
    client.rpush("ran:" + name, time.time())
    return client.llen("ran:" + name)


def times(name):
    return [float(at) for at in client.lrange("ran:" + name, 0, -1)]


# RQ: a job is any function that the worker can import.
def add(one, other):
    return one + other


def fail_once(name):
    if note(name) == 1:
        raise ValueError("first time")
    return "done"


def sleep_once(name):
    if note(name) == 1:
        time.sleep(600)


def rq_sum(*names):
    return sum(rq.job.Job.fetch(name, connection=client).return_value() for name in names)


def push(name):
    client.rpush("order", name)


# Celery.
app = celery.Celery("queues", broker=f"{URL}/1", backend=f"{URL}/2")
app.conf.update(
    task_acks_late=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 5, "queue_order_strategy": "priority"},
    worker_hijack_root_logger=False, beat_schedule_filename=os.path.join(os.getcwd(), "beat"),
    beat_schedule={"every": {"task": "queues.note", "schedule": 1.0, "args": ["celery repeated"]}})
celery_note = app.task(note, name="queues.note")
celery_add = app.task(add, name="queues.add")
celery_sleep = app.task(sleep_once, name="queues.sleep_once")
celery_push = app.task(push, name="queues.push")


@app.task(name="queues.limited", rate_limit="5/s")
def celery_limited():
    note("celery limited")


@app.task(name="queues.total")
def celery_total(numbers):
    return sum(numbers)


@app.task(name="queues.fail_once", autoretry_for=(ValueError,), default_retry_delay=1, max_retries=3)
def celery_fail(name):
    return fail_once(name)


# dramatiq.
broker = RedisBroker(url=f"{URL}/3", heartbeat_timeout=3_000, maintenance_chance=1_000_000)
broker.add_middleware(Results(backend=RedisBackend(url=f"{URL}/4")))
dramatiq.set_broker(broker)
dramatiq_add = dramatiq.actor(add, actor_name="add", store_results=True)
dramatiq_note = dramatiq.actor(note, actor_name="note")
dramatiq_fail = dramatiq.actor(fail_once, actor_name="fail_once", store_results=True, min_backoff=100,
                               max_retries=3)
dramatiq_sleep = dramatiq.actor(sleep_once, actor_name="sleep_once")

children = []


def worker(*command):
    """Starts a worker in a group of its own, so that its children are killed with it."""
    environment = dict(os.environ, QUEUES_PORT=str(PORT), PYTHONPATH=os.getcwd())
    log = open("workers.log", "ab")
    child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    children.append(child)
    return child


def kill(child):
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child in children:
        children.remove(child)


def until(what, check, seconds=60):
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end or any(child.poll() for child in children):
            raise SystemExit(f"FAILED {what}\n{open('workers.log').read()[-3000:]}")
        time.sleep(0.05)


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"FAILED {what}: {found!r}, not {wanted!r}")


def run_rq():
    high, low = rq.Queue("high", connection=client), rq.Queue("low", connection=client)
    for name in ("first", "second"):
        low.enqueue(push, "low " + name)
    for name in ("first", "second"):
        high.enqueue(push, "high " + name)
    one = worker("rq", "worker", "--url", URL, "--with-scheduler", "high", "low")
    until("RQ: prioritised jobs", lambda: client.llen("order") == 4)
    order = [name.decode() for name in client.lrange("order", 0, -1)]
    expect("RQ: order", order, ["high first", "high second", "low first", "low second"])
    jobs = [high.enqueue(add, number, 1) for number in range(100)]
    until("RQ: plain jobs", lambda: all(job.is_finished for job in jobs))
    expect("RQ: results", [job.return_value() for job in jobs], list(range(1, 101)))
    begin = time.time()
    low.enqueue_in(datetime.timedelta(seconds=2), note, "rq delayed")
    until("RQ: delayed job", lambda: times("rq delayed"))
    expect("RQ: delay", times("rq delayed")[0] - begin >= 1, True)
    retried = high.enqueue(fail_once, "rq retried", retry=rq.Retry(max=2, interval=1))
    until("RQ: retried job", lambda: retried.is_finished)
    expect("RQ: attempts", len(times("rq retried")), 2)
    high.enqueue(note, "rq repeated", repeat=rq.Repeat(times=2, interval=1))
    until("RQ: repeated job", lambda: len(times("rq repeated")) == 3)
    parts = [low.enqueue(add, number, 10, job_id=f"part-{number}") for number in range(3)]
    total = high.enqueue(rq_sum, *[part.id for part in parts], depends_on=parts)
    until("RQ: a job that waits for others", lambda: total.is_finished)
    expect("RQ: sum", total.return_value(), 33)
    killed = high.enqueue(sleep_once, "rq killed", job_timeout=5, retry=rq.Retry(max=1))
    until("RQ: a job to be killed", lambda: times("rq killed"))
    kill(one)
    client.delete(*client.keys("rq:scheduler-lock:*") or ["none"])
    worker("rq", "worker", "--url", URL, "--with-scheduler", "--maintenance-interval", "2", "high", "low")
    until("RQ: the job of a killed worker", lambda: len(times("rq killed")) == 2, 120)
    until("RQ: its end", lambda: killed.is_finished)


def run_celery():
    start = ["celery", "--app", "queues.app", "worker", "--concurrency", "2", "--loglevel", "WARNING"]
    for name, priority in (("low", 9), ("middle", 5), ("high", 0)):
        celery_push.apply_async([name], priority=priority)
    client.delete("order")
    one = worker(*start, "--concurrency", "1")
    until("Celery: prioritised tasks", lambda: client.llen("order") == 3)
    expect("Celery: order", client.lrange("order", 0, -1), [b"high", b"middle", b"low"])
    results = [celery_add.delay(number, 1) for number in range(100)]
    expect("Celery: results", [result.get(timeout=60) for result in results], list(range(1, 101)))
    begin = time.time()
    celery_note.apply_async(["celery delayed"], countdown=2)
    until("Celery: delayed task", lambda: times("celery delayed"))
    expect("Celery: delay", times("celery delayed")[0] - begin >= 1.9, True)
    expect("Celery: retried task", celery_fail.delay("celery retried").get(timeout=60), "done")
    chain = celery.chain(celery_add.s(1, 2), celery_add.s(10), celery_add.s(100))
    expect("Celery: chain", chain.delay().get(timeout=60), 113)
    chord = celery.chord([celery_add.s(number, 1) for number in range(10)])(celery_total.s())
    expect("Celery: chord", chord.get(timeout=60), 55)
    for _ in range(11):
        celery_limited.delay()
    until("Celery: rate-limited tasks", lambda: len(times("celery limited")) == 11)
    ran = times("celery limited")
    expect("Celery: rate", ran[-1] - ran[0] >= 1.8, True)
    beat = worker("celery", "--app", "queues.app", "beat", "--loglevel", "WARNING")
    until("Celery: repeated tasks", lambda: len(times("celery repeated")) >= 3)
    kill(beat)
    celery_sleep.delay("celery killed")
    until("Celery: a task to be killed", lambda: times("celery killed"))
    kill(one)
    worker(*start)
    until("Celery: the task of a killed worker", lambda: len(times("celery killed")) == 2, 240)


def run_dramatiq():
    start = ["dramatiq", "--processes", "1", "--threads", "2", "queues"]
    one = worker(*start)
    group = dramatiq.group([dramatiq_add.message(number, 1) for number in range(100)]).run()
    expect("dramatiq: results", list(group.get_results(block=True, timeout=60_000)), list(range(1, 101)))
    begin = time.time()
    dramatiq_note.send_with_options(args=("dramatiq delayed",), delay=2_000)
    until("dramatiq: delayed message", lambda: times("dramatiq delayed"))
    expect("dramatiq: delay", times("dramatiq delayed")[0] - begin >= 1.9, True)
    retried = dramatiq_fail.send("dramatiq retried")
    expect("dramatiq: retried message", retried.get_result(block=True, timeout=60_000), "done")
    pipe = dramatiq.pipeline([dramatiq_add.message(1, 2), dramatiq_add.message(10)]).run()
    expect("dramatiq: pipeline", pipe.get_result(block=True, timeout=60_000), 13)
    dramatiq_sleep.send("dramatiq killed")
    until("dramatiq: a message to be killed", lambda: times("dramatiq killed"))
    kill(one)
    worker(*start)
    until("dramatiq: the message of a killed worker", lambda: len(times("dramatiq killed")) == 2, 120)


def main():
    client.flushall()
    try:
        for run in (run_rq, run_celery, run_dramatiq):
            begin = time.monotonic()
            run()
            print(f"{run.__name__[4:]}: {time.monotonic() - begin:.1f} s", flush=True)
            while children:
                kill(children[-1])
    finally:
        while children:
            kill(children[-1])
    print("OK")


if __name__ == "__main__":
    # The jobs belong to a module that workers can import.
    import queues
    queues.main()
