/** The files of the dashboard, by name. */
export declare const FILES: Readonly<Record<string, string>>;
