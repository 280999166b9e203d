"""Messages on their topics: each once, whatever is repeated and whatever fails in between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.exceptions import ClientError

from nightspot.aws.faults import NotYetError
from nightspot.aws.notices import CLAIM_LIFE, NoticeTopics

NOW = datetime(2026, 11, 21, 7, 3, tzinfo=UTC)
ABOUT = {"job": "recommender", "happening": "RunFailed"}
MAIL, CHAT = "arn:aws:sns:eu-west-1:123456789012:mail", "arn:aws:sns:eu-west-1:123456789012:chat"


class Sns:
    """Keeps what is published; `refusals` are raised first, one a call."""

    def __init__(self) -> None:
        self.published = []
        self.refusals = []
        self.meanwhile = lambda: None

    def publish(self, **arguments):
        if self.refusals:
            raise self.refusals.pop()
        self.published.append(arguments)
        self.meanwhile()
        return {"MessageId": "1"}


@pytest.fixture
def dynamodb(emulated_aws):
    client = boto3.client("dynamodb", region_name="eu-west-1")
    client.create_table(
        TableName="nights",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
    )
    return client


@pytest.fixture
def sns():
    return Sns()


@pytest.fixture
def topics(sns, dynamodb):
    return NoticeTopics(sns, dynamodb, "nights", mail_arn=MAIL, chat_arn=CHAT)


def mail(topics, key="r/9/RunFailed", now=NOW):
    return topics.mail(key, "subject", "text", ABOUT, now)


def test_a_mail_has_its_subject_its_text_and_what_a_subscription_filters_by(topics, sns):
    assert mail(topics) is True
    assert sns.published == [
        {
            "TopicArn": MAIL,
            "Subject": "subject",
            "Message": "text",
            "MessageAttributes": {
                "job": {"DataType": "String", "StringValue": "recommender"},
                "happening": {"DataType": "String", "StringValue": "RunFailed"},
            },
        }
    ]


def test_an_attribute_without_a_value_is_left_out_because_sns_refuses_it(topics, sns):
    topics.mail("k", "subject", "text", {"job": "", "happening": "RunFailed"}, NOW)
    assert set(sns.published[0]["MessageAttributes"]) == {"happening"}


def test_a_chat_message_is_json_on_the_topic_for_chat(topics, sns):
    assert topics.chat("k", {"content": {"title": "é"}}, ABOUT, NOW) is True
    (published,) = sns.published
    assert published["TopicArn"] == CHAT
    assert json.loads(published["Message"]) == {"content": {"title": "é"}}
    assert "Subject" not in published


def test_without_a_topic_for_chat_nothing_is_sent_and_nothing_written(sns, dynamodb):
    topics = NoticeTopics(sns, dynamodb, "nights", mail_arn=MAIL)
    assert topics.chat("k", {}, ABOUT, NOW) is False
    assert sns.published == []
    assert dynamodb.scan(TableName="nights")["Items"] == []


def test_the_same_message_again_is_not_sent_again_however_much_later(topics, sns):
    assert mail(topics) is True
    assert mail(topics) is False
    assert mail(topics, now=NOW + timedelta(hours=6)) is False
    assert len(sns.published) == 1


def test_another_message_and_another_channel_are_sent(topics, sns):
    mail(topics)
    assert mail(topics, key="r/9/RunStopped") is True
    assert topics.chat("r/9/RunFailed", {}, ABOUT, NOW) is True
    assert len(sns.published) == 3


def test_of_two_deliveries_at_the_same_moment_one_sends_and_the_other_asks_to_be_repeated(topics, sns):
    def second_delivery():
        sns.meanwhile = lambda: None
        with pytest.raises(NotYetError, match="r/9/RunFailed MAIL"):
            mail(topics, now=NOW + timedelta(seconds=1))

    sns.meanwhile = second_delivery
    assert mail(topics) is True
    assert mail(topics, now=NOW + timedelta(seconds=61)) is False
    assert len(sns.published) == 1


def test_what_sns_refuses_is_raised_and_the_repetition_may_send_it_at_once(topics, sns):
    sns.refusals = [ClientError({"Error": {"Code": "Throttled"}}, "Publish")]
    with pytest.raises(ClientError, match="Throttled"):
        mail(topics)
    assert mail(topics, now=NOW + timedelta(seconds=1)) is True
    assert len(sns.published) == 1


def test_whoever_died_while_sending_is_followed_once_it_must_be_dead(topics, sns, dynamodb):
    mail(topics)
    dynamodb.update_item(
        TableName="nights",
        Key={"pk": {"S": "NOTICE#r/9/RunFailed"}, "sk": {"S": "MAIL"}},
        UpdateExpression="REMOVE sent_at",
    )
    with pytest.raises(NotYetError):
        mail(topics, now=NOW + CLAIM_LIFE - timedelta(seconds=1))
    assert mail(topics, now=NOW + CLAIM_LIFE) is True
    assert len(sns.published) == 2


def test_what_is_remembered_is_forgotten_after_a_while(topics, dynamodb):
    mail(topics)
    (item,) = dynamodb.scan(TableName="nights")["Items"]
    assert datetime.fromtimestamp(int(item["expires"]["N"]), UTC) == NOW + timedelta(days=7)


def test_sns_itself_takes_both_forms(dynamodb):
    sns = boto3.client("sns", region_name="eu-west-1")
    arns = [sns.create_topic(Name=name)["TopicArn"] for name in ("mail", "chat")]
    topics = NoticeTopics(sns, dynamodb, "nights", mail_arn=arns[0], chat_arn=arns[1])
    assert mail(topics) is True
    assert topics.chat("k", {"version": "1.0"}, ABOUT, NOW) is True
