// The client stacks: a document library and a provider as people install them together.
//
// All yjs 13 providers share the one copy of yjs and y-protocols at the top of node_modules, @y/websocket has @y/y and
// @y/protocols: two copies of a document library inside one stack would make its types strangers to each other.

import * as awareness13 from 'y-protocols/awareness'
import * as awareness14 from '@y/protocols/awareness'
import { WebsocketProvider as Provider1 } from 'y-websocket-1'
import { WebsocketProvider as Provider2 } from 'y-websocket-2'
import { WebsocketProvider as Provider3 } from 'y-websocket-3'
import { WebsocketProvider as Provider4 } from '@y/websocket'
import * as kit13 from './kit13.mjs'
import * as kit14 from './kit14.mjs'
import { createRequire } from 'node:module'
import { readFileSync } from 'node:fs'
import { option } from './random.mjs'

const root = createRequire(import.meta.url).resolve('../package.json').replace(/package\.json$/, '')
const version = (name) => JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, 'utf8')).version

function stack (id, documents, provider, Provider, kit, awarenessProtocol) {
  const label = `${documents} ${version(documents)} + ${provider.replace(/-\d$/, '')} ${version(provider)}`
  return { id, label, Provider, kit, awarenessProtocol }
}

/** `{ id, label, Provider, kit, awarenessProtocol }` of each stack. */
export const allStacks = [
  stack('y1', 'yjs', 'y-websocket-1', Provider1, kit13, awareness13),
  stack('y2', 'yjs', 'y-websocket-2', Provider2, kit13, awareness13),
  stack('y3', 'yjs', 'y-websocket-3', Provider3, kit13, awareness13),
  stack('y4', '@y/y', '@y/websocket', Provider4, kit14, awareness14)
]

/** The stack with that id. */
export function stackById (id) {
  const found = allStacks.find((stack) => stack.id === id)
  if (!found) throw new Error(`no stack is called "${id}"; there are ${allStacks.map((stack) => stack.id).join(', ')}`)
  return found
}

/** The stacks named by `--stacks y1,y4` or `YHUB_STACKS`, in that order; all of them if neither is given. */
export function chosenStacks () {
  const names = option('stacks') ?? process.env.YHUB_STACKS
  return names ? names.split(',').map(stackById) : allStacks
}
