// IAM's verdict on calls by @cloud-copilot/iam-simulate: a JSON line {policy, principal, action, resource, account,
// context} on stdin, `policy` being JSON text, and on stdout a line {allowed} for each, or {refused} where the library
// says that there can be no such call or policy.
import { createInterface } from "node:readline";
import { createValidatedPolicy, validateIdentityPolicy } from "@cloud-copilot/iam-policy";
import { runSimulation } from "@cloud-copilot/iam-simulate";

const EVERYTHING = { Version: "2012-10-17", Statement: { Effect: "Allow", Action: "*", Resource: "*" } };

function keyPolicyOf(account) {
  const Principal = { AWS: `arn:aws:iam::${account}:root` };
  return { Version: "2012-10-17", Statement: { Effect: "Allow", Principal, Action: "kms:*", Resource: "*" } };
}

const validated = new Map();

// Many calls are asked about under one long policy, and validating it takes the most time.
function identityPolicy(text) {
  if (!validated.has(text)) validated.set(text, createValidatedPolicy(JSON.parse(text), validateIdentityPolicy));
  return validated.get(text);
}

async function verdict({ policy, principal, action, resource, account, context }) {
  const found = await runSimulation(
    {
      request: { principal, action, resource: { resource, accountId: account }, contextVariables: context },
      identityPolicies: [{ name: "role", policy: identityPolicy(policy) }],
      serviceControlPolicies: [{ orgIdentifier: "root", policies: [{ name: "all", policy: EVERYTHING }] }],
      resourceControlPolicies: [],
      // A key is used by nobody whom its own policy does not know; this is the policy that hands over to IAM.
      resourcePolicy: resource.startsWith("arn:aws:kms:") ? keyPolicyOf(account) : undefined,
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
