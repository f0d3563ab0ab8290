/**
 * The shapes of data, for those who read and for `tsc --checkJs`; nothing runs here.
 *
 * @typedef {{upload: string} | {sample: string} | {name: string}
 *   | {job: string, result: string | null} | {job: string, input: string, number: number}
 *   | {files: Record<string, object>}} Source
 *
 * A picture, a film, a word or a folder that goes into an operation.
 * @typedef {object} Item
 * @property {string} name
 * @property {Source} source
 * @property {string | null} thumbnail
 * @property {string | null} content
 * @property {string | null} [model] of a style that a network has learnt
 * @property {string} [about] of a film: its size and length
 * @property {number} [weight] of a style among several
 * @property {Item | null} [mask] where a style is painted
 *
 * @typedef {Record<string, Item[]>} Items
 *
 * What is being prepared.
 * @typedef {object} Draft
 * @property {string} operation
 * @property {Items} inputs
 * @property {Record<string, any>} options those that were set; the others have their defaults
 * @property {Items} files of options that name files
 * @property {string} recipe
 * @property {string} format
 *
 * @typedef {object} Step
 * @property {number} number
 * @property {number} steps
 * @property {string} text
 * @property {[number, number]} size
 * @property {number} seconds
 * @property {Record<string, number>} measured
 *
 * @typedef {{name: string, size: number, width: number, height: number, content: string,
 *   thumbnail: string | null}} Result
 *
 * @typedef {object} Job
 * @property {string} id
 * @property {string} operation
 * @property {"queued" | "running" | "paused" | "done" | "failed" | "cancelled"} state
 * @property {string} label
 * @property {Record<string, {name: string, content: string | null, thumbnail: string | null,
 *   files: number, sha256: string | null}[]>} inputs
 * @property {Record<string, any>} options
 * @property {string} format
 * @property {string | null} wish
 * @property {number | null} turn
 * @property {number} created
 * @property {number | null} started
 * @property {number | null} ended
 * @property {number} seconds
 * @property {Step | null} progress
 * @property {string[]} notes
 * @property {string | null} error
 * @property {string | null} preview
 * @property {number} preview_step
 * @property {Result[]} results
 * @property {boolean} favourite
 * @property {number} version
 *
 * @typedef {{name: string, kind: string, about: string, least: number, most: number | null,
 *   by_name: boolean}} Input
 * @typedef {{name: string, about: string, inputs: Input[], output: string, done: string,
 *   options?: {properties: Record<string, any>}}} Operation
 */
export {};
