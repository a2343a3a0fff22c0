/**
 * What went wrong, as a code to branch on and a sentence to read. Codes of the server are those of docs/protocol.md; the
 * library adds a few of its own for what never reaches the server.
 *
 * @typedef {"bad_request"|"bad_json"|"unknown_type"|"unsupported_version"|"unauthorized"|"token_expired"|"forbidden"|"not_found"|"conflict"|"rate_limited"|"too_large"|"bad_offer"|"unavailable"|"internal"} ServerErrorCode
 * @typedef {"timeout"|"disconnected"|"replaced"|"closed"|"insecure_context"|"permission_denied"|"no_device"|"device_busy"|"device_failed"} LocalErrorCode
 * @typedef {ServerErrorCode|LocalErrorCode} ErrorCode
 */

export class RingbackError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   * @param {{retryAfterMs?: number, cause?: unknown}} [more]
   */
  constructor(code, message, more = {}) {
    super(message, { cause: more.cause });
    this.name = "RingbackError";
    /** @type {ErrorCode} */
    this.code = code;
    /** Wait this long before trying again (`rate_limited`, `unavailable`). @type {number|undefined} */
    this.retryAfterMs = more.retryAfterMs;
  }
}

/**
 * The library's error for anything thrown.
 * @param {unknown} thrown
 * @param {ErrorCode} [code] for what is not a RingbackError already
 * @returns {RingbackError}
 */
export function asRingbackError(thrown, code = "internal") {
  if (thrown instanceof RingbackError) return thrown;
  return new RingbackError(code, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
}

/** Whether a request that failed with it may have been taken all the same. @param {unknown} thrown */
export function isUnsure(thrown) {
  const { code } = asRingbackError(thrown);
  return code === "disconnected" || code === "internal";
}
