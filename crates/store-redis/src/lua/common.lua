-- Shared by all scripts. Clocks are texts `ms-seq` of two integers up to 64 bits, which numbers here cannot hold exactly:
-- they are compared as digits.

local function text(number)
  return string.format('%.0f', number)
end

local function digits_less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function split(clock)
  local ms, seq = string.match(clock, '^(%d+)%-(%d+)$')
  return ms, seq
end

-- Does clock a lie before clock b?
local function before(a, b)
  local a_ms, a_seq = split(a)
  local b_ms, b_seq = split(b)
  if a_ms ~= b_ms then return digits_less(a_ms, b_ms) end
  return digits_less(a_seq, b_seq)
end

local function later(a, b)
  if not a then return b end
  if not b then return a end
  if before(a, b) then return b end
  return a
end

-- A clock after this one: the next, or where the sequence is beyond what numbers hold, that of the next millisecond.
local function after(clock)
  local ms, seq = split(clock)
  if tonumber(seq) < 9007199254740991 then return ms .. '-' .. text(tonumber(seq) + 1) end
  return text(tonumber(ms) + 1) .. '-0'
end

local function now_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function now_ms()
  return math.floor(now_us() / 1000)
end

-- What is remembered of a room beside its stream: `last`, the last entry that a script of ours appended; `trimmed`, up to
-- where entries left the stream. It outlives the stream, and is forgotten a day after the room was last touched.
local META_TTL_MS = 86400000

local function remember(meta, ...)
  local is_new = redis.call('HSET', meta, ...)
  if is_new > 0 then redis.call('PEXPIRE', meta, META_TTL_MS) end
end

-- Puts the tasks that nobody has read yet into the pending list, where they become claimable by the time they lie there.
local function deliver(worker, count)
  local read = redis.pcall('XREADGROUP', 'GROUP', worker, 'pending', 'COUNT', count, 'STREAMS', worker, '>')
  if type(read) == 'table' and read.err then
    if not string.find(read.err, 'NOGROUP') then return redis.error_reply(read.err) end
    redis.call('XGROUP', 'CREATE', worker, worker, '0', 'MKSTREAM')
    read = redis.call('XREADGROUP', 'GROUP', worker, 'pending', 'COUNT', 1000, 'STREAMS', worker, '>')
  end
  if not read then return {} end
  return read[1][2]
end

local function enqueue(worker, stream)
  local id = redis.call('XADD', worker, '*', 'compact', stream)
  deliver(worker, 1)
  return id
end

-- Calls visit(id, fields) for every entry of the queue, until it returns something.
local function each_task(worker, visit)
  local from = '-'
  while true do
    local tasks = redis.call('XRANGE', worker, from, '+', 'COUNT', 1000)
    for _, task in ipairs(tasks) do
      local result = visit(task[1], task[2])
      if result then return result end
    end
    if #tasks < 1000 then return nil end
    from = '(' .. tasks[#tasks][1]
  end
end

-- The consumer that has a task, and how often it was delivered; nothing if it is not pending.
local function owner_of(worker, id)
  local found = redis.pcall('XPENDING', worker, worker, id, id, 1)
  if found.err or not found[1] then return nil end
  return found[1][2], found[1][4]
end

local function drop_task(worker, claims, delayed, id)
  local acknowledged = redis.pcall('XACK', worker, worker, id)
  redis.call('HDEL', claims, id)
  redis.call('ZREM', delayed, id)
  local deleted = redis.call('XDEL', worker, id)
  return acknowledged == 1 or deleted == 1
end

-- Appends one entry above `floor`, and above everything that the room ever held. Returns its clock, or an error.
local function add(stream, floor, now, field, value)
  local first
  if tonumber((split(floor))) >= now then
    -- Time stands still or went back: the next clock by hand. If somebody else appended beyond it, after theirs.
    local added = redis.pcall('XADD', stream, after(floor), field, value)
    if type(added) ~= 'table' then return added end
    if not string.find(added.err, 'equal or smaller') then return added end
  end
  return redis.pcall('XADD', stream, '*', field, value)
end
