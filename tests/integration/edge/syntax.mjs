// What JavaScript runtime 2.0 takes, as the CloudFront Developer Guide's page "JavaScript runtime 2.0 features for
// CloudFront Functions" lists it: ES 5.1, and of the later versions what is named there. What the page doesn't name
// is refused, though CloudFront may take it: nobody can try it before a deploy.

import { parse } from 'acorn';
import { ancestor, full } from 'acorn-walk';

const NODES = new Set(
  `Program ImportDeclaration ImportDefaultSpecifier
  VariableDeclaration VariableDeclarator FunctionDeclaration FunctionExpression ArrowFunctionExpression RestElement
  BlockStatement EmptyStatement ExpressionStatement IfStatement LabeledStatement BreakStatement ContinueStatement
  SwitchStatement SwitchCase ReturnStatement ThrowStatement TryStatement CatchClause WhileStatement DoWhileStatement
  ForStatement ForInStatement
  Identifier Literal TemplateLiteral TemplateElement ArrayExpression ObjectExpression Property
  UnaryExpression UpdateExpression BinaryExpression AssignmentExpression LogicalExpression ConditionalExpression
  CallExpression NewExpression MemberExpression SequenceExpression ThisExpression AwaitExpression`.split(/\s+/),
);

// The objects and functions that the page lists and that a function can use: not eval, not Function.
const GLOBALS = new Set(
  `Object String Number Boolean Math Date RegExp JSON Array Promise Symbol
  Float32Array Float64Array Int8Array Int16Array Int32Array Uint8Array Uint8ClampedArray Uint16Array Uint32Array
  ArrayBuffer DataView TextDecoder TextEncoder Buffer console globalThis
  Error EvalError InternalError RangeError ReferenceError SyntaxError TypeError URIError
  decodeURI decodeURIComponent encodeURI encodeURIComponent isFinite isNaN parseFloat parseInt atob btoa
  NaN Infinity undefined arguments`.split(/\s+/),
);

const MODULES = new Set(['buffer', 'cloudfront', 'crypto', 'querystring']);

// Methods that are called: of Object, String, Array, Number, RegExp, Date, Math and Promise as the page lists them
// (ES 5.1's toString among them), of the crypto module, and the helper methods of `cloudfront`.
const METHODS = new Set(
  `assign create entries freeze keys values hasOwnProperty
  charAt concat indexOf lastIndexOf match replace search slice split substr substring toLowerCase toUpperCase
  trim codePointAt endsWith includes repeat startsWith padStart padEnd trimStart trimEnd replaceAll fromCharCode
  every filter forEach join map pop push reduce reverse shift some sort splice unshift find findIndex isArray
  toFixed isInteger isNaN isFinite exec test toString
  now getTime toUTCString toISOString parse stringify log
  abs ceil floor max min round trunc resolve reject
  createHash createHmac update digest
  kvs get exists meta selectRequestOriginById`.split(/\s+/),
);

/** What of the source isn't on the lists: one line each. */
export function complaints(source) {
  const found = [];
  const program = parse(source, { ecmaVersion: 'latest', sourceType: 'module', locations: true });
  const complain = (node, what) => found.push(`line ${node.loc.start.line}: ${what}`);

  full(program, (node) => {
    if (!NODES.has(node.type)) complain(node, node.type);
    if (node.generator) complain(node, 'a generator');
    if (node.optional) complain(node, 'an optional chain');
    if (node.type === 'ImportDeclaration' && !MODULES.has(node.source.value)) complain(node, 'an unknown module');
    if (node.type === 'CatchClause' && node.param === null) complain(node, 'a catch without its binding');
    if (node.type === 'Property') for (const part of propertyFaults(node)) complain(node, part);
    if (/^(Logical|Assignment|Binary)Expression$/.test(node.type) && /\?\?|&&=|\|\|=/.test(node.operator)) {
      complain(node, `the operator ${node.operator}`);
    }
    if (typeof node.value === 'bigint') complain(node, 'a bigint');
    if (node.regex && (/[^gim]/.test(node.regex.flags) || /\(\?<[=!]|\\p\{/.test(node.regex.pattern))) {
      complain(node, `the regular expression /${node.regex.pattern}/${node.regex.flags}`);
    }
    for (const name of node.params ?? []) {
      if (!['Identifier', 'RestElement'].includes(name.type)) complain(name, `a parameter that is a ${name.type}`);
    }
    if (node.type === 'VariableDeclarator' && node.id.type !== 'Identifier') complain(node, 'a destructuring');
  });

  ancestor(program, {
    // "async arguments and closures are not supported"
    Function(node, _, ancestors) {
      const around = ancestors.slice(0, -1);
      const isTopLevel = node.type === 'FunctionDeclaration' && around.length === 1;
      if (node.async && !isTopLevel) complain(node, 'a nested async function');
      if (around.some((outer) => outer.async)) complain(node, 'a closure in an async function');
    },
    AwaitExpression(node, _, ancestors) {
      const parent = ancestors.at(-2).type;
      const isPlain = ['VariableDeclarator', 'ExpressionStatement', 'ReturnStatement'].includes(parent);
      if (!isPlain) complain(node, `await in a ${parent}`);
      if (!ancestors.some((outer) => outer.async)) complain(node, 'await outside of an async function');
    },
    CallExpression({ callee }) {
      if (callee.type !== 'MemberExpression') return;
      if (callee.computed) complain(callee, 'a method by a computed name');
      else if (!METHODS.has(callee.property.name)) complain(callee, `the method ${callee.property.name}`);
    },
  });

  const declared = declaredNames(program);
  full(program, (node) => {
    if (node.type === 'Identifier' && !declared.has(node.name) && !GLOBALS.has(node.name)) {
      complain(node, `the global ${node.name}`);
    }
  });
  return found;
}

function propertyFaults(node) {
  return [
    node.shorthand && 'a shorthand property',
    node.computed && 'a computed property',
    node.method && 'a method definition',
  ].filter(Boolean);
}

function declaredNames(program) {
  const names = new Set();
  const add = (pattern) => pattern && names.add((pattern.argument ?? pattern).name);
  full(program, (node) => {
    if (node.type === 'ImportDefaultSpecifier') add(node.local);
    if (node.type === 'VariableDeclarator') add(node.id);
    if (node.type === 'CatchClause') add(node.param);
    if (/Function/.test(node.type)) [node.id, ...node.params].forEach(add);
  });
  return names;
}
