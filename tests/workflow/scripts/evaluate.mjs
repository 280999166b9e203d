// Evaluates JSONata with the reference implementation: [{expression, bindings}] on stdin, one answer each on stdout.
// An answer is {value}, {nothing: true} for undefined, or {failed: true}.
import { readFileSync } from "node:fs";
import jsonata from "jsonata";

async function answer({ expression, bindings }) {
  try {
    const program = jsonata(expression);
    // Step Functions adds this one to JSONata's own functions.
    program.registerFunction("parse", (text) => {
      if (typeof text !== "string") throw new TypeError("$parse takes a string");
      return JSON.parse(text);
    });
    const value = await program.evaluate(undefined, bindings);
    return value === undefined ? { nothing: true } : { value };
  } catch (error) {
    process.stderr.write(`${expression}: ${error.message}\n`);
    return { failed: true };
  }
}

const questions = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await Promise.all(questions.map(answer))));
