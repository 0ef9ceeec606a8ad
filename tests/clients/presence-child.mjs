// A client in a process of its own, so that a test can kill it: joins a room, shows a presence state, prints `ready`,
// and stays until it is ended.
//
//     node presence-child.mjs STACK ROOM STATE_AS_JSON

import { Client } from './lib/client.mjs'
import { stackById } from './lib/stacks.mjs'

const [stack, room, state] = process.argv.slice(2)
const client = new Client(stackById(stack), room, { awareness: JSON.parse(state) })
await client.synced()
console.log('ready')
