-- Limits and budgets shared by several data planes: the rules of meter/, inside the server, so that
-- a call takes of all its limits in one step, or of none. ARGV: an operation, its arguments
-- (msgpack). Replies are msgpack.
--
-- Numbers here are exact up to 2^53 only. Sums of picodollars are pairs {high, low} of base 10^9.
-- Levels of rates are pairs {units, rest}: a unit has `cost` parts, of which `most` flow off in a
-- microsecond.

local BASE = 1000000000
local LOWS_KEPT = 64
local SLACK = 3600 -- seconds that a bucket outlives its end: clocks of data planes differ

local PASSED, REFUSED, OTHER_GENERATION, UNKNOWN_PLANE, UNKNOWN_BUDGET = 0, 1, 2, 3, 4

local prefix = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- sums

local function wide(text)
  local cut = #text - 9
  if cut <= 0 then return {0, tonumber(text)} end
  return {tonumber(string.sub(text, 1, cut)), tonumber(string.sub(text, cut + 1))}
end

local function text(sum)
  if sum[1] == 0 then return string.format('%.0f', sum[2]) end
  return string.format('%.0f%09.0f', sum[1], sum[2])
end

local function plus(a, b)
  local high, low = a[1] + b[1], a[2] + b[2]
  if low >= BASE then high, low = high + 1, low - BASE end
  return {high, low}
end

local function minus(a, b) -- no less than 0
  local high, low = a[1] - b[1], a[2] - b[2]
  if low < 0 then high, low = high - 1, low + BASE end
  if high < 0 then return {0, 0} end
  return {high, low}
end

local function less(a, b)
  return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
end

-- rates (meter/throttle.py)

local function lowered(level, units, rest, cost) -- no lower than 0
  units, rest = level[1] - units, level[2] - rest
  if rest < 0 then units, rest = units - 1, rest + cost end
  if units < 0 then return {0, 0} end
  return {units, rest}
end

local function flown(level, micros, most, cost) -- after so many microseconds
  local rest = math.fmod(micros, cost)
  local units = (micros - rest) / cost * most
  if units > level[1] then return {0, 0} end
  -- rest * most / cost, a digit of `most` (base 2^10, up to 10^15) after the other: with the parts of
  -- a month (2^41.3), what is divided stays below 2^52.3
  local quotient, left = 0, 0
  for place = 4, 0, -1 do
    local digit = math.floor(most / 1024 ^ place) % 1024
    left = left * 1024 + rest * digit
    local over = math.fmod(left, cost)
    quotient, left = quotient * 1024 + (left - over) / cost, over
  end
  return lowered(level, units + quotient, left, cost)
end

local function rate_key(key) return prefix .. 'r:' .. key end

local function rate(key, most, cost)
  local kept = redis.call('GET', rate_key(key))
  if not kept then return {level = {0, 0}, count = 0, lows = {}, key = key} end
  local found = cmsgpack.unpack(kept)
  local passed = math.max(now - found[1], 0)
  local level = flown({found[2], found[3]}, passed, most, cost)
  return {level = level, count = found[4], lows = found[5], key = key}
end

local function keep_rate(state, most, cost)
  local level = state.level
  local kept = cmsgpack.pack({now, level[1], level[2], state.count, state.lows})
  local empty = math.ceil((level[1] * cost + level[2]) / most / 1000) + 1000
  empty = math.min(empty, 10 ^ 15) -- a long time; more than the server takes would be an error
  redis.call('SET', rate_key(state.key), kept, 'PX', string.format('%.0f', empty))
end

local function note_low(lows, number, level)
  while #lows > 0 and not less({lows[#lows][2], lows[#lows][3]}, level) do table.remove(lows) end
  lows[#lows + 1] = {number, level[1], level[2]}
  if #lows > LOWS_KEPT then
    lows[2] = {lows[2][1], lows[1][2], lows[1][3]}
    table.remove(lows, 1)
  end
end

local function take_rate(state, units)
  state.count = math.max(state.count + 1, now) -- rises also when what was kept has expired
  note_low(state.lows, state.count, state.level)
  state.level = {state.level[1] + units, state.level[2]}
  return state.count
end

local function settle_rate(state, number, taken, used, cost)
  if used > taken then
    take_rate(state, used - taken)
    return
  end
  local level, lows, later = state.level, state.lows, 1
  if level[1] == 0 and level[2] == 0 then return end
  while later <= #lows and lows[later][1] <= number do later = later + 1 end
  local back = level
  if later <= #lows and less({lows[later][2], lows[later][3]}, back) then
    back = {lows[later][2], lows[later][3]}
  end
  if less({taken - used, 0}, back) then back = {taken - used, 0} end
  state.level = lowered(level, back[1], back[2], cost)
  local after = {}
  while #lows >= later do after[#after + 1] = table.remove(lows, later) end
  for _, low in ipairs(after) do
    note_low(lows, low[1], lowered({low[2], low[3]}, taken - used, 0, cost))
  end
end

-- what belongs to a generation

local generation

local function of(kind, key) return prefix .. generation .. ':' .. kind .. ':' .. key end

local function alive()
  local found = {}
  local names = redis.call('ZRANGEBYSCORE', prefix .. 'planes', '(' .. time[1], '+inf')
  for _, name in ipairs(names) do found[name] = true end
  return found
end

local function at_work(key, living)
  local counts, sum = redis.call('HGETALL', of('p', key)), 0
  for i = 1, #counts, 2 do
    if living[counts[i]] then sum = sum + tonumber(counts[i + 1]) end
  end
  return sum
end

-- Those that count, as {start, end, amount}, and their sum; where one is `remembered` for so many
-- seconds, also the one that ended where `starts` is, and its amount.
local function buckets(key, at, starts, remembered)
  local found, sum, before, fields = {}, {0, 0}, nil, redis.call('HGETALL', of('b', key))
  for i = 1, #fields, 2 do
    local split = string.find(fields[i], ':', 1, true)
    local ends = tonumber(string.sub(fields[i], split + 1))
    if ends > at then
      found[#found + 1] = {tonumber(string.sub(fields[i], 1, split - 1)), ends, fields[i + 1]}
      sum = plus(sum, wide(fields[i + 1]))
    elseif ends == starts and remembered > 0 then
      found[#found + 1] = {tonumber(string.sub(fields[i], 1, split - 1)), ends, fields[i + 1]}
      before = wide(fields[i + 1])
    elseif ends + remembered + SLACK < at then
      redis.call('HDEL', of('b', key), fields[i])
    end
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  return found, sum, before
end

local function change(key, field, add, subtract, remembered)
  local before = wide(redis.call('HGET', of('b', key), field) or '0')
  local after = minus(plus(before, add), subtract)
  redis.call('HSET', of('b', key), field, text(after))
  local ends = tonumber(string.sub(field, string.find(field, ':', 1, true) + 1))
  local over = ends + (remembered or 0) + 2 * SLACK
  if over > redis.call('TTL', of('b', key)) + tonumber(time[1]) then
    redis.call('EXPIREAT', of('b', key), string.format('%.0f', over))
  end
end

local function is_current()
  local value = redis.call('GET', prefix .. 'generation')
  return value and string.sub(value, 1, #generation + 1) == generation .. ':'
end

local function hold_of(plane) return of('h', plane) end

-- An attempt has its call's id, a slash and a number.
local function call_of(id) return string.match(id, '^(.*)/') end

-- Returns how it is written down. Of a budget that is yet to be known, the ledger may have the call
-- by the time it is asked.
local function take_budget(id, meter)
  local _, measure, key, known, _, amount, starts, ends, _, _, _, remembered = unpack(meter)
  local field = string.format('%.0f:%.0f', starts, ends)
  change(key, field, wide(amount), {0, 0}, remembered)
  if redis.call('HEXISTS', of('g', 'known'), known) == 0 then
    redis.call('SADD', of('j', known), call_of(id) or id)
  end
  return {'b', measure, key, field, amount}
end

-- Takes of every meter, and writes down what was taken.
local function take(plane, id, meters, states, anew)
  local taken = {}
  for i, meter in ipairs(meters) do
    local kind = meter[1]
    if kind == 'r' then
      if not anew then
        local _, measure, key, most, cost, _, units = unpack(meter)
        local number = take_rate(states[i], units)
        keep_rate(states[i], most, cost)
        -- Of requests a call has one, whatever becomes of it; an attempt may not be made after all.
        if measure ~= 'requests' or call_of(id) then
          taken[#taken + 1] = {'r', measure, key, most, cost, number, units}
        end
      end
    elseif kind == 'p' then
      redis.call('HINCRBY', of('p', meter[2]), plane, 1)
      taken[#taken + 1] = {'p', meter[2]}
    else
      taken[#taken + 1] = take_budget(id, meter)
    end
  end
  if #taken > 0 then redis.call('HSET', hold_of(plane), id, cmsgpack.pack(taken)) end
end

-- Of a call that is held takes of the budgets that came since then.
local function take_more(plane, id, meters, held)
  local taken, has = cmsgpack.unpack(held), {}
  for _, each in ipairs(taken) do
    if each[1] == 'b' then has[each[3]] = true end
  end
  local before = #taken
  for _, meter in ipairs(meters) do
    if meter[1] == 'b' and not has[meter[3]] then taken[#taken + 1] = take_budget(id, meter) end
  end
  if #taken > before then redis.call('HSET', hold_of(plane), id, cmsgpack.pack(taken)) end
end

-- A generation that has just begun does not know yet what is at work elsewhere.
local function gathers()
  local till = redis.call('GET', prefix .. 'gathers')
  return till and now < tonumber(till)
end

local operations = {}

-- {generation, plane, id, meters, noted} → {code, time, how each meter stood before}
-- A call that is noted is known until it is settled, though it may take nothing itself: budgets bear
-- its attempts.
function operations.admit(plane, id, meters, noted)
  if not is_current() then return {OTHER_GENERATION} end
  local living = alive()
  if not living[plane] then return {UNKNOWN_PLANE} end
  local states, replies, code = {}, {}, PASSED
  for i, meter in ipairs(meters) do
    local kind = meter[1]
    if kind == 'r' then
      local _, _, key, most, cost, burst, units = unpack(meter)
      local state = rate(key, most, cost)
      local level = state.level
      states[i], replies[i] = state, {level[1], level[2]}
      local over = level[1] + units - burst
      if over > 0 or (over == 0 and level[2] > 0) then code = REFUSED end
    elseif kind == 'p' then
      if gathers() then return {UNKNOWN_BUDGET} end
      replies[i] = at_work(meter[2], living)
      if replies[i] >= meter[3] then code = REFUSED end
    else
      local _, _, key, known, most, amount, starts, _, at, soft, carried, remembered = unpack(meter)
      if amount ~= '0' and redis.call('HEXISTS', of('g', 'known'), known) == 0 then
        return {UNKNOWN_BUDGET}
      end
      local found, sum, before = buckets(key, at, starts, remembered)
      replies[i] = found
      local room = wide(most)
      if before then room = plus(room, minus(wide(carried), before)) end
      if not soft and amount ~= '0' and less(room, plus(sum, wide(amount))) then
        code = REFUSED
      end
    end
  end
  if code == PASSED then
    if noted then redis.call('HSET', hold_of(plane), id, '') end
    take(plane, id, meters, states)
  else
    redis.call('HDEL', hold_of(plane), id) -- it may have been noted while it waited
  end
  return {code, now, replies}
end

-- A data plane joins: with calls that are under way, or not settled yet.
-- {generation, plane, name, since, lease, {{id, meters}…}} → {code, budgets known, was it here}
function operations.join(plane, name, since, lease, calls)
  if not is_current() then return {OTHER_GENERATION} end
  local names = redis.call('HGETALL', of('g', 'names'))
  local here = 0
  for i = 1, #names, 2 do
    local known = string.sub(names[i + 1], string.find(names[i + 1], ':', 1, true) + 1)
    if names[i] == plane then
      here = 1
    elseif known == name then -- it has died: only one at a time has a name
      redis.call('ZADD', prefix .. 'planes', 'XX', 0, names[i])
    end
  end
  redis.call('HSETNX', of('g', 'names'), plane, string.format('%.0f:%s', since, name))
  redis.call('ZADD', prefix .. 'planes', string.format('%.3f', now / 1000000 + lease), plane)
  local building = redis.call('HEXISTS', of('g', 'known'), '*') == 0
  for _, call in ipairs(calls) do
    -- The ledger may have it by the time it is asked, and it counts here.
    if building then redis.call('SADD', of('g', 'joined'), call[1]) end
    local held = redis.call('HGET', hold_of(plane), call[1])
    if #call[2] == 0 then
      redis.call('HSETNX', hold_of(plane), call[1], '')
    elseif not held or held == '' then
      take(plane, call[1], call[2], nil, true)
    else
      take_more(plane, call[1], call[2], held)
    end
  end
  return {PASSED, redis.call('HLEN', of('g', 'known')), here}
end

-- Puts what was used in place of what was taken; returns what budgets bear of it.
local function give_back(plane, id, held, units, amounts)
  local borne = {}
  redis.call('HDEL', hold_of(plane), id)
  if held == '' then return borne end
  for _, taken in ipairs(cmsgpack.unpack(held)) do
    local kind = taken[1]
    if kind == 'r' then
      local _, measure, key, most, cost, number, was = unpack(taken)
      local used = units[measure]
      if used and used ~= was then
        local state = rate(key, most, cost)
        settle_rate(state, number, was, used, cost)
        keep_rate(state, most, cost)
      end
    elseif kind == 'p' then
      if redis.call('HINCRBY', of('p', taken[2]), plane, -1) <= 0 then
        redis.call('HDEL', of('p', taken[2]), plane)
      end
    else
      local _, measure, key, field, was = unpack(taken)
      local used = amounts[measure]
      if used ~= was then change(key, field, wide(used), wide(was)) end
      borne[#borne + 1] = {'b', measure, key, field, used}
    end
  end
  return borne
end

-- {generation, plane, id, used of rates by measure, used of budgets by measure, its attempts (or
-- true: it is one, of a call that is noted), of a data plane that died: what budgets bear of them} → {code, was held}
-- What budgets bear of an attempt is known until its call is settled: should their data plane die,
-- the ledger says what they bear of all attempts together.
function operations.settle(plane, id, units, amounts, attempts, apart)
  if not is_current() then return {OTHER_GENERATION} end
  if apart and alive()[plane] then return {PASSED, 0} end -- it lives after all
  local held = redis.call('HGET', hold_of(plane), id)
  if held then
    local borne = give_back(plane, id, held, units, amounts)
    if attempts == true and #borne > 0 then
      redis.call('HSET', hold_of(plane), id, cmsgpack.pack(borne))
    end
  end
  for _, attempt in ipairs(attempts ~= true and attempts or {}) do
    local left = apart and redis.call('HGET', hold_of(plane), attempt)
    if left then give_back(plane, attempt, left, {}, {usd = '0', tokens = '0'}) end
    redis.call('HDEL', hold_of(plane), attempt)
  end
  if held and apart then
    for _, each in ipairs(apart) do
      change(each[1], string.format('%.0f:%.0f', each[2], each[3]), wide(each[4]), {0, 0}, each[5])
    end
  end
  return {PASSED, held and held ~= '' and 1 or 0}
end

-- What was spent of a budget before, which is remembered for so many seconds after its end.
-- {generation, budget, {{key, start, end, amount}…}, remembered} → {code}
function operations.learn(known, spent, remembered)
  if not is_current() then return {OTHER_GENERATION} end
  if redis.call('HSETNX', of('g', 'known'), known, 1) == 1 then
    for _, each in ipairs(spent) do
      change(each[1], string.format('%.0f:%.0f', each[2], each[3]), wide(each[4]), {0, 0},
        remembered)
    end
    redis.call('DEL', of('j', known))
    if known == '*' then redis.call('DEL', of('g', 'joined')) end -- all of them are known
  end
  return {PASSED}
end

-- {generation, plane, lease} → {code, was it known, those whose lease is over}
function operations.beat(plane, lease)
  local dead = redis.call('ZRANGEBYSCORE', prefix .. 'planes', '-inf', time[1])
  local others = {}
  for _, name in ipairs(dead) do
    if name ~= plane then others[#others + 1] = name end
  end
  if not is_current() then return {OTHER_GENERATION, 0, others} end
  local known = redis.call('ZSCORE', prefix .. 'planes', plane)
  if known then
    redis.call('ZADD', prefix .. 'planes', string.format('%.3f', now / 1000000 + lease), plane)
  end
  return {PASSED, known and 1 or 0, others}
end

-- Begins a generation of counters in place of another, which others join for so many seconds before
-- it says how many calls are at work. {new, plane, expected, seconds} → {the one that is}
function operations.begin(plane, expected, grace)
  local is = redis.call('GET', prefix .. 'generation') or ''
  if is ~= expected then return {is} end
  redis.call('SET', prefix .. 'generation', generation)
  redis.call('SET', prefix .. 'building', plane, 'PX', 5000)
  redis.call('SET', prefix .. 'gathers', string.format('%.0f', now + grace * 1000000))
  return {generation}
end

-- {generation, plane}: nothing of it is held any more. Whoever says so may have learnt long ago that
-- it is dead: it may have given a sign of life since, and hold something in another generation.
function operations.bury(plane)
  if not is_current() then return {OTHER_GENERATION} end
  if alive()[plane] then return {PASSED} end
  redis.call('ZREM', prefix .. 'planes', plane)
  redis.call('DEL', hold_of(plane))
  return {PASSED}
end

local arguments = cmsgpack.unpack(ARGV[2])
generation = table.remove(arguments, 1)
return cmsgpack.pack(operations[ARGV[1]](unpack(arguments)))
