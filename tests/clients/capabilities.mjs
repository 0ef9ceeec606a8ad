// Drives stock clients against a running hub and prints which stack can do what.
//
//     YHUB_URL=ws://127.0.0.1:4400 node capabilities.mjs [--stacks y1,y4] [--only 'regular expression']
//
// Exits with 0 only if every cell holds. `YHUB_SERVER=plain` leaves out what a plain y-websocket server does not have.

import './capabilities/content.mjs'
import './capabilities/sync.mjs'
import './capabilities/rooms.mjs'
import './capabilities/presence.mjs'
import { runSuite } from './lib/suite.mjs'
import { chosenStacks } from './lib/stacks.mjs'

runSuite(chosenStacks())
