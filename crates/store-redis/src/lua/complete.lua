-- Ends a task and trims its room. KEYS: stream, meta, worker, claims, delayed, paused.
-- ARGV: me, id, epoch, first clock to keep, minimum lifetime in milliseconds.
-- Returns how many entries were trimmed, and whether any are left (1 or 0); nothing if the task is not mine.
local stream, meta, worker, claims, delayed, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local me, id, epoch, keep, lifetime = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if owner_of(worker, id) ~= me or redis.call('HGET', claims, id) ~= epoch then return false end
local task = redis.call('XRANGE', worker, id, id)[1]
if not task or task[2][1] ~= 'compact' or task[2][2] ~= stream then return false end

local now = now_ms()
local oldest_kept = now - lifetime
local trimmed = 0
if oldest_kept >= 0 then
  local young = text(oldest_kept + 1) .. '-0'
  -- Where time went back, entries seem to be of the future, and how old they are is not known: they would stay until time has
  -- caught up. They go with what is persisted; who has not read them is told of a gap.
  local is_ahead = before(text(now + 1000) .. '-0', keep)
  if not is_ahead and before(young, keep) then keep = young end
  local last = redis.call('XREVRANGE', stream, '(' .. keep, '-', 'COUNT', 1)[1]
  if last then
    trimmed = redis.call('XTRIM', stream, 'MINID', '=', keep)
    redis.call('HSET', meta, 'trimmed', last[1])
  end
end
redis.call('PEXPIRE', meta, META_TTL_MS)
drop_task(worker, claims, delayed, id)
if redis.call('XLEN', stream) == 0 then
  redis.call('DEL', stream)
  return { trimmed, 0 }
end
if redis.call('SISMEMBER', paused, stream) == 0 then enqueue(worker, stream) end
return { trimmed, 1 }
