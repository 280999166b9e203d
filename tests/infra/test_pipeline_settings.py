"""How a deployment names the repository whose pipelines are let in, and which names are refused."""

import pytest

from nightspot.cdk import Settings, SettingsError, read_settings
from nightspot.cdk.settings import GITHUB_HOST, trust_of

pytestmark = pytest.mark.xdist_group("infra")

REPOSITORY = "acme/models"
MAIN = "repo:acme/models:ref:refs/heads/main"
TAGS = "repo:acme/models:ref:refs/tags/v*"
PROVIDER = f"arn:aws:iam::123456789012:oidc-provider/{GITHUB_HOST}"
REFUSED = {
    "no owner": ({"github_repository": "models"}, "github_repository", "must be owner/name"),
    "a star for the name": ({"github_repository": "acme/*"}, "github_repository", "without wildcards"),
    "a star for the owner": ({"github_repository": "*/models"}, "github_repository", "without wildcards"),
    "a star within": ({"github_repository": "acme/mod*"}, "github_repository", "without wildcards"),
    "a question mark": ({"github_repository": "acme/model?"}, "github_repository", "without wildcards"),
    "a regular expression": ({"github_repository": "acme/.+"}, "github_repository", "without wildcards"),
    "a policy variable": ({"github_repository": "acme/${aws:x}"}, "github_repository", "without wildcards"),
    "a colon": ({"github_repository": "acme/models:ref"}, "github_repository", "must be owner/name"),
    "a line break": ({"github_repository": "acme/models\n"}, "github_repository", "must be owner/name"),
    "an address": (
        {"github_repository": "https://github.com/acme/models"},
        "github_repository",
        "must be owner/name",
    ),
    "a folder": ({"github_repository": "acme/.."}, "github_repository", "must be owner/name"),
    "another script's letters": (
        {"github_repository": "acme/mod\u0435ls"},
        "github_repository",
        "owner/name",
    ),
    "one id of two": ({"github_repository": "acme@42/models"}, "github_repository", "owner@1234/name@5678"),
    "nothing": ({"github_repository": ""}, "github_repository", "must be owner/name"),
    "another repository's subject": (
        {"github_repository": REPOSITORY, "github_subjects": ("repo:acme/other:ref:refs/heads/main",)},
        "github_subjects",
        "must begin with repo:acme/models:",
    ),
    "a repository that begins alike": (
        {"github_repository": REPOSITORY, "github_subjects": ("repo:acme/models-fork:ref:refs/heads/main",)},
        "github_subjects",
        "must begin with repo:acme/models:",
    ),
    "a star over repositories": (
        {"github_repository": REPOSITORY, "github_subjects": ("repo:acme/*",)},
        "github_subjects",
        "must begin with repo:acme/models:",
    ),
    "a subject without a ref": (
        {"github_repository": REPOSITORY, "github_subjects": ("repo:acme/models:",)},
        "github_subjects",
        "and go on with a ref",
    ),
    "a variable in a subject": (
        {"github_repository": REPOSITORY, "github_subjects": ("repo:acme/models:${aws:username}",)},
        "github_subjects",
        "must have only letters",
    ),
    "a question mark in a subject": (
        {"github_repository": REPOSITORY, "github_subjects": ("repo:acme/models:ref:refs/heads/mai?",)},
        "github_subjects",
        "must have only letters",
    ),
    "subjects of nobody": ({"github_subjects": (MAIN,)}, "github_subjects", "nightspot:github_repository"),
    "both": (
        {"github_repository": REPOSITORY, "gitlab_project": "acme/models"},
        "gitlab_project",
        "must not come with nightspot:github_repository",
    ),
    "a group": ({"gitlab_project": "acme"}, "gitlab_project", "must be group/project"),
    "a star for a project": ({"gitlab_project": "acme/*"}, "gitlab_project", "without wildcards"),
    "another project's subject": (
        {
            "gitlab_project": "acme/models",
            "gitlab_subjects": ("project_path:acme/*:ref_type:branch:ref:main",),
        },
        "gitlab_subjects",
        "must begin with project_path:acme/models:",
    ),
    "GitLab's subjects of nobody": (
        {"gitlab_subjects": ("project_path:acme/models:ref_type:branch:ref:main",)},
        "gitlab_subjects",
        "must come with nightspot:gitlab_project",
    ),
    "an address for a host": (
        {"gitlab_project": "acme/models", "gitlab_host": "https://git.example.com"},
        "gitlab_host",
        "without https:// and port",
    ),
    "an audience of nothing": (
        {"gitlab_project": "acme/models", "gitlab_audience": ""},
        "gitlab_audience",
        "must be the `aud`",
    ),
    "no ARN": (
        {"github_repository": REPOSITORY, "oidc_provider_arn": GITHUB_HOST},
        "oidc_provider_arn",
        f"for {GITHUB_HOST}",
    ),
    "another issuer's provider": (
        {
            "github_repository": REPOSITORY,
            "oidc_provider_arn": "arn:aws:iam::123456789012:oidc-provider/gitlab.com",
        },
        "oidc_provider_arn",
        f"for {GITHUB_HOST}",
    ),
    "a provider of nobody": ({"oidc_provider_arn": PROVIDER}, "oidc_provider_arn", "must come with"),
    "jobs of nobody": ({"ci_jobs": ("search",)}, "ci_jobs", "must come with"),
    "no API": (
        {"github_repository": REPOSITORY, "api": False},
        "github_repository",
        "must not come with nightspot:api=false",
    ),
    "no API for GitLab": (
        {"gitlab_project": "acme/models", "api": False},
        "gitlab_project",
        "must not come with nightspot:api=false",
    ),
}


@pytest.mark.parametrize(("changes", "field", "rule"), REFUSED.values(), ids=REFUSED.keys())
def test_settings_that_could_let_somebody_else_in_are_refused_with_key_value_and_rule(changes, field, rule):
    with pytest.raises(SettingsError) as caught:
        Settings(**changes)
    value = changes[field]
    shown = ",".join(value) if isinstance(value, tuple) else value
    assert str(caught.value).startswith(f"nightspot:{field}: {shown!r} must ")
    assert rule in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"github_repository": "acme/models.v2_x-y"},
        {"github_repository": "a-b_corp/.github"},
        {"github_repository": REPOSITORY, "github_subjects": ("repo:acme/models:pull_request",)},
        {"github_repository": REPOSITORY, "github_subjects": ("repo:acme/models:environment:Night run",)},
        {"gitlab_project": "acme/teams/models"},
    ],
)
def test_settings_that_name_one_repository_are_taken(changes):
    assert trust_of(Settings(**changes)) is not None


def test_nobody_is_let_in_unless_a_repository_is_named():
    assert trust_of(Settings()) is None


def test_settings_from_the_command_line_are_lists_where_they_may_be_several():
    context = {
        "nightspot:github_repository": REPOSITORY,
        "nightspot:github_subjects": f"{MAIN}, {TAGS}",
        "nightspot:oidc_provider_arn": PROVIDER,
        "nightspot:ci_jobs": "search,recommender",
    }
    settings = read_settings(context.get)
    assert trust_of(settings).subjects == (MAIN, TAGS)
    assert settings.ci_jobs == ("search", "recommender")
