-- Appends what was set aside to its room again. KEYS: stream, meta, worker, paused, aside. ARGV: channel, then the clocks of
-- entries that are left out. Returns how many entries there were; nothing if there is no such stream.
local stream, meta, worker, paused, aside = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if redis.call('EXISTS', aside) == 0 then return false end
local left_out = {}
for at = 2, #ARGV do left_out[ARGV[at]] = true end
local was_live = redis.call('EXISTS', stream) == 1
local known = redis.call('HMGET', meta, 'last', 'trimmed')
local top = later(known[1] or nil, known[2] or nil) or '0-0'
local now, count, from = now_ms(), 0, '-'
while true do
  local page = redis.call('XRANGE', aside, from, '+', 'COUNT', 64)
  for _, entry in ipairs(page) do
    count = count + 1
    local message
    for at = 1, #entry[2], 2 do
      if entry[2][at] == 'm' then message = entry[2][at + 1] end
    end
    if message and not left_out[entry[1]] then
      local clock = add(stream, top, now, 'm', message)
      if type(clock) == 'table' then return redis.error_reply(clock.err) end
      top = clock
    end
  end
  if #page < 64 then break end
  from = '(' .. page[#page][1]
end
redis.call('DEL', aside)
if redis.call('EXISTS', stream) == 1 then
  redis.call('HSET', meta, 'last', top)
  redis.call('PEXPIRE', meta, META_TTL_MS)
  if not was_live and redis.call('SISMEMBER', paused, stream) == 0 then enqueue(worker, stream) end
end
redis.call('SPUBLISH', ARGV[1], '1 ?\n')
return count
