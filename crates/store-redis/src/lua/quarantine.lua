-- Sets a stream aside. KEYS: stream, meta, aside. ARGV: channel. Returns 1, or 0 if there is nothing to set aside.
local stream, meta, aside, channel = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if redis.call('EXISTS', aside) == 1 then return 1 end
local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
if not last then return 0 end
redis.call('RENAME', stream, aside)
-- The filler keeps the key alive: a task for the room may be pending, and without the key the next append would enqueue a
-- second one.
local filler = add(stream, later(last[1], redis.call('HGET', meta, 'last') or nil), now_ms(), 'nop', '1')
if type(filler) == 'table' then return redis.error_reply(filler.err) end
-- Also who has seen everything is told of a gap, so that every node loads the room as it is now.
redis.call('HSET', meta, 'trimmed', filler, 'last', filler)
redis.call('PEXPIRE', meta, META_TTL_MS)
redis.call('SPUBLISH', channel, '1 ?\n')
return 1
