"""Times round trips of TPM commands over UNIX sockets: round-trips.py PATH...

A client that blocks costs less than one with an event loop, and so shows more of the server. It connects to every PATH and obeys
lines of JSON on its input, one answer each:
  {"server": 0, "command": HEX}                      -> {"response": HEX}
  {"turns": [{"server", "command", "counter", "made"}...], "seconds", "block", "min", "max"}
      -> {"turns": [[[ns...] of each block]...]}     blocks of about `block` seconds, in the order A B B A
      or {"error": TEXT}
In the command of a turn a counter is written over the 8 bytes at `counter`, unless that is -1; when it is `made`, the
handle in its response is flushed, which is not timed.
"""
import gc
import json
import socket
import struct
import sys
import time

FLUSH = struct.pack(">HIII", 0x8001, 14, 0x165, 0)


def exchange(connection, command):
    connection.sendall(command)
    response = connection.recv(8192)
    while len(response) < 10 or len(response) < int.from_bytes(response[2:6], "big"):
        more = connection.recv(8192)
        if not more:
            raise RuntimeError("the server closed the connection")
        response += more
    return response


class Turn:
    def __init__(self, connections, request):
        self.connection = connections[request["server"]]
        self.command = bytearray.fromhex(request["command"])
        self.counter = request["counter"]
        self.made = request["made"]
        self.number = time.time_ns()
        self.blocks = []
        self.spent = 0
        self.samples = 0
        self.calls = 1

    def run(self, calls):
        """One block: the nanoseconds of each call."""
        times = []
        clock, connection, command = time.perf_counter_ns, self.connection, self.command
        for _ in range(calls):
            if self.counter >= 0:
                self.number += 1
                struct.pack_into(">Q", command, self.counter, self.number)
            began = clock()
            response = exchange(connection, command)
            times.append(clock() - began)
            code = response[6:10]
            if code != b"\0\0\0\0":
                raise RuntimeError("response code 0x" + code.hex())
            if self.made:
                exchange(connection, FLUSH[:10] + response[10:14])
        return times


def measure(connections, request):
    turns = [Turn(connections, turn) for turn in request["turns"]]
    for turn in turns:
        warm = turn.run(3)
        turn.calls = max(1, int(request["block"] * 1e9 / max(min(warm), 1)))
    order, number = list(turns), 0
    limit = request["seconds"] * 1e9
    while any((t.spent < limit and t.samples < request["max"]) or t.samples < request["min"] for t in turns):
        for turn in order if number % 2 == 0 else reversed(order):
            times = turn.run(turn.calls)
            turn.blocks.append(times)
            turn.spent += sum(times)
            turn.samples += len(times)
        number += 1
    return {"turns": [turn.blocks for turn in turns]}


def main():
    connections = []
    for path in sys.argv[1:]:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        connections.append(connection)
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "turns" in request:
                answer = measure(connections, request)
            else:
                answer = {"response": exchange(connections[request["server"]], bytes.fromhex(request["command"])).hex()}
        except (RuntimeError, OSError) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
        gc.collect()


main()
