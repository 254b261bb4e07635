"""When the gateway tries again, and what it says is wrong with the broker."""

import ssl

import aiomqtt
import pytest
from structlog.testing import capture_logs

from daq.errors import DaqError
from daq.gateway import outage
from daq.gateway.outage import Informant, Outage
from daq.model import Reply

URL = "mqtt://broker:1883"
LOST = aiomqtt.MqttError("connection refused")


class Story:
    """One broker, on a clock that the test moves."""

    def __init__(self):
        self.now_s = 1000.0
        self.outage = Outage("daq-bench-3", now=lambda: self.now_s)

    def connected_for(self, seconds):
        self.outage.connected(URL)
        self.now_s += seconds

    def failed(self, error=LOST):
        """The longest pause that follows."""
        self.outage.failed(URL, error)
        pause_s = max(self.outage.pause_s() for _ in range(200))
        self.now_s += pause_s
        return pause_s


@pytest.fixture
def story():
    return Story()


def certificate_expired():
    try:
        try:
            raise ssl.SSLCertVerificationError("certificate has expired")
        except OSError as error:
            raise aiomqtt.MqttError(str(error)) from None
    except aiomqtt.MqttError as error:
        return error


def test_all_is_well_while_it_is_connected(story):
    assert story.outage.trouble() is None  # nobody knows yet
    story.connected_for(1)
    assert story.outage.trouble() == ""


@pytest.mark.fault("F61")
def test_a_broker_that_is_away_is_tried_again_soon_and_told_of_after_minutes(story):
    pauses = [story.failed() for _ in range(20)]
    assert pauses[-1] <= outage.LONGEST_PAUSE_S
    assert story.outage.trouble() is None
    story.now_s += outage.AWAY_S
    assert story.outage.trouble() == f"the broker at {URL} is away"
    story.connected_for(0)
    assert story.outage.trouble() == ""


def test_a_broker_whose_address_is_not_even_known_is_told_of_too(story):
    story.now_s += outage.AWAY_S
    assert story.outage.trouble() == "the broker is away"


@pytest.mark.parametrize(
    "error", [aiomqtt.exceptions.MqttConnectError(5), certificate_expired()], ids=["login", "tls"]
)
@pytest.mark.fault("F65")
def test_a_refusal_is_told_of_at_once_and_tried_again_slowly(story, error):
    pauses = [story.failed(error) for _ in range(12)]
    assert pauses[:6] == sorted(pauses[:6])
    assert outage.LONGEST_PAUSE_REFUSED_S * 0.9 < pauses[-1] <= outage.LONGEST_PAUSE_REFUSED_S
    assert "refuses us" in story.outage.trouble()
    story.connected_for(0)
    assert story.outage.trouble() == ""


def test_a_broker_that_is_still_starting_does_not_refuse_us(story):
    pauses = [story.failed(aiomqtt.exceptions.MqttConnectError(3)) for _ in range(12)]
    assert pauses[-1] <= outage.LONGEST_PAUSE_S
    assert story.outage.trouble() is None


@pytest.mark.fault("F66")
def test_a_war_over_our_id_is_fought_slowly_and_told_of(story):
    pauses = []
    for _ in range(8):
        story.connected_for(0.1)
        pauses.append(story.failed())
    assert pauses[0] < 1.0 < outage.LONGEST_PAUSE_S < pauses[-1]
    assert "another client use the id daq-bench-3" in story.outage.trouble()
    story.connected_for(outage.CALM_S - 1)
    assert "another client" in story.outage.trouble()
    story.now_s += 1
    assert story.outage.trouble() == ""


@pytest.mark.fault("F66")
def test_a_slow_war_over_our_id_is_told_of_too(story):
    for _ in range(5):
        story.connected_for(10)
        story.failed()
    assert "another client use the id daq-bench-3" in story.outage.trouble()


@pytest.mark.fault("F62")
def test_a_broker_that_comes_and_goes_is_told_of_and_still_tried_again_soon(story):
    for _ in range(8):
        story.connected_for(2)
        story.failed()
        pause_s = story.failed()  # nobody there
    assert pause_s <= outage.LONGEST_PAUSE_S
    assert (
        story.outage.trouble() == f"the connection to the broker at {URL} is lost again and again"
    )


def test_one_loss_after_a_good_time_is_nobodys_business(story):
    story.connected_for(3600)
    assert story.failed() == pytest.approx(outage.FIRST_PAUSE_S, rel=0.1)
    story.connected_for(1)
    assert story.outage.trouble() == ""


# Telling control.


class Control:
    def __init__(self):
        self.told, self.there = [], True

    async def ask(self, command, timeout_s):
        if not self.there:
            raise DaqError("the daemon does not run")
        self.told.append((command.verb, dict(command.arguments)))
        return Reply(command.id, "done")


async def test_control_is_told_once_when_it_begins_and_once_when_it_ends(story):
    control = Control()
    informant = Informant(story.outage, control.ask)
    await informant.look()
    assert control.told == []
    story.failed(aiomqtt.exceptions.MqttConnectError(5))
    control.there = False
    await informant.look()
    control.there = True
    for _ in range(3):
        await informant.look()
    story.connected_for(1)
    for _ in range(3):
        await informant.look()
    (verb, began), (_, ended) = control.told
    assert (verb, began["cause"], began["over"], ended["over"]) == (
        "report",
        "broker-away",
        False,
        True,
    )
    assert "refuses us" in began["message"]


async def test_while_control_is_away_too_the_log_has_one_line_for_one_trouble(story):
    control = Control()
    control.there = False
    informant = Informant(story.outage, control.ask)
    with capture_logs() as lines:
        story.failed(aiomqtt.exceptions.MqttConnectError(5))
        for _ in range(3):
            await informant.look()
        story.connected_for(1)
        await informant.look()
        story.failed(aiomqtt.exceptions.MqttConnectError(5))
        await informant.look()
    assert [one["event"] for one in lines].count("broker_trouble") == 2


async def test_a_gateway_that_comes_up_well_ends_what_an_earlier_one_has_said(story):
    control = Control()
    story.connected_for(1)
    await Informant(story.outage, control.ask).look()
    assert control.told[0][1]["over"] is True
