"""Ports are free when they are chosen, and the same ones at the next start."""

import socket

from dev.local.ports import CANDIDATES, GRPC_OFFSET, LOOPBACK, choose

NAMES = ("one", "two", "three")


def test_each_name_gets_a_port_of_its_own():
    chosen = choose(NAMES, {})
    assert tuple(chosen) == NAMES
    assert len(set(chosen.values())) == 3
    assert set(chosen.values()) <= set(CANDIDATES)


def test_the_next_start_gets_the_same():
    first = choose(NAMES, {})
    assert choose(NAMES, first) == first


def test_ports_taken_meanwhile_are_not_chosen_again():
    first = choose(NAMES, {})
    with socket.socket() as other:
        other.bind((LOOPBACK, first["two"] + GRPC_OFFSET))
        other.listen()
        assert first["two"] not in choose(NAMES, first).values()


def test_a_new_server_gets_a_port_too():
    assert set(choose((*NAMES, "four"), choose(NAMES, {}))) == {*NAMES, "four"}
