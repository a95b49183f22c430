// Stands in for Prisma's query-engine binary, which no package registry carries: serves the WebAssembly engine out of
// @prisma/client over the HTTP and GraphQL protocol that prisma-client-py speaks. Queries are Prisma's own; only this
// front is ours. Not for production: one process, no metrics, no tracing.
'use strict'

const ENGINE_COMMIT = '393aa359c9ad4a4bb28630fb5613f9c281cde053'
if (process.argv.includes('--version')) {
  console.log(`query-engine ${ENGINE_COMMIT}`)
  process.exit(0)
}

const fs = require('fs')
const http = require('http')
const path = require('path')
const { parse } = require('graphql')
const { Pool } = require('pg')
const { PrismaPg } = require('@prisma/adapter-pg')
const { bindAdapter } = require('@prisma/driver-adapter-utils')

const RUNTIME = path.join(__dirname, 'node_modules/@prisma/client/runtime')
const MAX_CONNECTIONS = 20
const ACTIONS = [
  'findUnique', 'findFirst', 'findMany', 'createOne', 'createManyAndReturn', 'createMany', 'updateOne', 'updateMany',
  'upsertOne', 'deleteOne', 'deleteMany', 'aggregate', 'groupBy',
]
const NULL_MARKERS = new Set(['JsonNull', 'DbNull', 'AnyNull'])
const TRACE = JSON.stringify({ traceparent: '00-00000000000000000000000000000001-0000000000000001-00' })

const datamodel = fs.readFileSync(process.env.PRISMA_DML_PATH, 'utf8')
const fieldTypes = readFieldTypes(datamodel)
const { pool, adapter, url } = connect()
const engine = startEngine()
const connected = engine.connect(TRACE)

// ---- set-up ----

/** {model: {field: type}} of the Prisma schema. */
function readFieldTypes(schema) {
  const models = {}
  for (const [, model, body] of schema.matchAll(/^model\s+(\w+)\s*\{([\s\S]*?)^\}/gm)) {
    models[model] = {}
    for (const line of body.split('\n')) {
      const field = line.match(/^\s+(\w+)\s+(\w+)(\[\])?\??/)
      if (field) models[model][field[1]] = field[2]
    }
  }
  return models
}

/** A pool on DATABASE_URL; Prisma's own URL parameters are taken out, PostgreSQL does not know them. */
function connect() {
  const overrides = JSON.parse(process.env.OVERWRITE_DATASOURCES || '[]')
  const given = (overrides[0] && overrides[0].url) || process.env.DATABASE_URL
  const target = new URL(given)
  const schema = target.searchParams.get('schema') || 'public'
  const limit = Number(target.searchParams.get('connection_limit') || 10)
  const ofPrisma = ['schema', 'connection_limit', 'pool_timeout', 'connect_timeout', 'pgbouncer', 'socket_timeout']
  for (const name of ofPrisma) target.searchParams.delete(name)
  const connections = new Pool({ connectionString: target.toString(), max: Math.min(limit, MAX_CONNECTIONS) })
  connections.on('error', (error) => console.error('connection lost:', error.message))
  return { pool: connections, adapter: bindAdapter(new PrismaPg(connections, { schema })), url: given }
}

function startEngine() {
  const bindings = require(path.join(RUNTIME, 'query_engine_bg.postgresql.js'))
  const code = new WebAssembly.Module(fs.readFileSync(path.join(RUNTIME, 'query_engine_bg.postgresql.wasm')))
  const instance = new WebAssembly.Instance(code, { './query_engine_bg.js': bindings })
  bindings.__wbg_set_wasm(instance.exports)
  const options = {
    datamodel,
    logLevel: 'error',
    logQueries: false,
    configDir: '.',
    env: { ...process.env, DATABASE_URL: url },
    engineProtocol: 'json',
    ignoreEnvVarErrors: true,
    datasourceOverrides: {},
  }
  return new bindings.QueryEngine(options, (line) => console.error(line), adapter)
}

// ---- GraphQL (what the Python client sends) to Prisma's JSON protocol (what the engine takes) ----

function toJsonQuery(text) {
  const field = parse(text).definitions[0].selectionSet.selections[0]
  const name = field.name.value
  if (name === 'queryRaw' || name === 'executeRaw') {
    return { action: name, query: { arguments: argumentsOf(field), selection: {} } }
  }
  const orThrow = name.endsWith('OrThrow') && !(name in fieldTypes)
  const plain = orThrow ? name.slice(0, -'OrThrow'.length) : name
  for (const action of ACTIONS) {
    const model = plain.slice(action.length)
    if (!plain.startsWith(action) || !(model in fieldTypes)) continue
    return {
      modelName: model,
      action: action + (orThrow ? 'OrThrow' : ''),
      query: { arguments: typed(model, argumentsOf(field)), selection: selectionOf(field) },
    }
  }
  throw new Error(`no engine action for ${name}`)
}

function valueOf(node) {
  switch (node.kind) {
    case 'IntValue': return Number.isSafeInteger(Number(node.value)) ? Number(node.value) : { $type: 'BigInt', value: node.value }
    case 'FloatValue': return Number(node.value)
    case 'StringValue':
    case 'EnumValue':
    case 'BooleanValue': return node.value
    case 'NullValue': return null
    case 'ListValue': return node.values.map(valueOf)
    case 'ObjectValue': return Object.fromEntries(node.fields.map((field) => [field.name.value, valueOf(field.value)]))
    default: throw new Error(`no JSON for a GraphQL ${node.kind}`)
  }
}

function argumentsOf(field) {
  return Object.fromEntries((field.arguments || []).map((argument) => [argument.name.value, valueOf(argument.value)]))
}

function selectionOf(field) {
  const selection = {}
  for (const child of field.selectionSet ? field.selectionSet.selections : []) {
    const given = argumentsOf(child)
    const plain = !child.selectionSet && Object.keys(given).length === 0
    selection[child.name.value] = plain ? true : { arguments: given, selection: selectionOf(child) }
  }
  return selection
}

const isObject = (value) => value !== null && typeof value === 'object'
const mapObject = (value, change) => Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, change(key, inner)]))

/** Marks what the schema calls Json, which GraphQL sends as a string. */
function typed(model, value) {
  if (Array.isArray(value)) return value.map((inner) => typed(model, inner))
  if (!isObject(value) || value.$type) return value
  return mapObject(value, (key, inner) => {
    const type = (fieldTypes[model] || {})[key]
    if (type === 'Json') return NULL_MARKERS.has(inner) ? inner : tagJson(inner)
    return typed(type in fieldTypes ? type : model, inner)
  })
}

function tagJson(value) {
  if (typeof value === 'string') return { $type: 'Json', value }
  if (Array.isArray(value)) return value.map(tagJson)
  if (!isObject(value) || value.$type) return value
  return mapObject(value, (key, inner) => (key === 'path' ? inner : tagJson(inner)))
}

// ---- the way back ----

/** {"$type": ..., "value": v} becomes v, at every depth. */
function untag(value) {
  if (Array.isArray(value)) return value.map(untag)
  if (!isObject(value)) return value
  return '$type' in value ? value.value : mapObject(value, (_, inner) => untag(inner))
}

function toReply(answer, { raw }) {
  if (!answer.data) return answer
  const [result] = Object.values(answer.data)
  return { ...answer, data: { result: raw ? result : untag(result) } }
}

/** Columns of type json come as text from the engine, the Python client wants them parsed. */
function parseJsonColumns(reply) {
  const result = reply.data && reply.data.result
  if (!result || !result.types) return reply
  const parsed = (text) => {
    if (typeof text !== 'string') return text
    try { return JSON.parse(text) } catch { return text } // a plain string is a JSON value already unpacked
  }
  result.types.forEach((type, column) => {
    if (type !== 'json' && type !== 'json-array') return
    for (const row of result.rows) {
      if (row[column]) row[column] = type === 'json' ? parsed(row[column]) : row[column].map(parsed)
    }
  })
  return reply
}

/** For columns whose type the engine does not know (void, name, ...): asks PostgreSQL itself. */
async function queryAround({ query, parameters }) {
  const answer = await pool.query({ text: query, values: JSON.parse(parameters || '[]'), rowMode: 'array' })
  const types = answer.fields.map((_, column) => {
    const row = answer.rows.find((candidate) => candidate[column] !== null)
    return row ? prismaType(row[column]) : 'string'
  })
  return { data: { result: { columns: answer.fields.map((field) => field.name), types, rows: answer.rows } } }
}

function prismaType(value) {
  if (Array.isArray(value)) return 'string-array'
  if (value instanceof Date) return 'datetime'
  const types = { number: 'double', boolean: 'bool', object: 'json' }
  return types[typeof value] || 'string'
}

// ---- serving ----

async function runQuery(request, transaction) {
  if (request.batch) {
    const batch = { batch: request.batch.map((one) => toJsonQuery(one.query)), transaction: request.transaction ? {} : undefined }
    const answer = JSON.parse(await engine.query(JSON.stringify(batch), TRACE, transaction))
    if (answer.batchResult) answer.batchResult = answer.batchResult.map((one) => toReply(one, { raw: false }))
    return answer
  }
  const query = toJsonQuery(request.query)
  const answer = JSON.parse(await engine.query(JSON.stringify(query), TRACE, transaction))
  if (query.action !== 'queryRaw') return toReply(answer, { raw: false })
  const unknownType = JSON.stringify(answer.errors || []).includes("column of type 'Unknown'")
  if (unknownType && !transaction) return queryAround(query.query.arguments)
  return parseJsonColumns(toReply(answer, { raw: true }))
}

/** [status, body] for one request. */
async function answer(request, body) {
  await connected
  if (request.url === '/status') return [200, { status: 'ok' }]
  if (request.url.startsWith('/metrics')) return [200, { counters: [], gauges: [], histograms: [] }]
  if (request.url === '/transaction/start') {
    const started = JSON.parse(await engine.startTransaction(body, TRACE))
    return [started.error_code ? 400 : 200, started]
  }
  const end = request.url.match(/^\/transaction\/(.+)\/(commit|rollback)$/)
  if (end) {
    const [, id, how] = end
    const ended = how === 'commit' ? await engine.commitTransaction(id, TRACE) : await engine.rollbackTransaction(id, TRACE)
    return [200, ended || '{}']
  }
  return [200, await runQuery(JSON.parse(body), request.headers['x-transaction-id'])]
}

async function serve(request, response) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  let status, body
  try {
    [status, body] = await answer(request, Buffer.concat(chunks).toString())
  } catch (error) {
    console.error(error)
    const message = String(error)
    status = 500
    body = { errors: [{ error: message, user_facing_error: { is_panic: false, message } }] }
  }
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}

const port = Number(process.argv[process.argv.indexOf('-p') + 1])
http.createServer(serve).listen(port, '127.0.0.1')
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0))
const parent = process.ppid
setInterval(() => { if (process.ppid !== parent) process.exit(0) }, 1000) // nobody is left to serve
